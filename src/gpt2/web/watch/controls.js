// What do the charts show? Over which axis, which part of it, and which runs, as the reader wants.

import { create } from "gpt2/dom.js";
import { lineSample, lookOf } from "gpt2/watch/look.js";

const SHARES = [
  ["the whole run", 1],
  ["the last half", 0.5],
  ["the last tenth", 0.1],
  ["the last hundredth", 0.01],
];

/**
 * Return the bar above the charts.
 * @param {import("gpt2/watch/runs.js").Run[]} runs whose isHidden the bar changes
 * @param {object} colors of the page
 * @param {() => void} onChange
 * @returns {{element: HTMLElement, chosen: () => {over: string, isLog: boolean, share: number}}}
 */
export function controls(runs, colors, onChange) {
  const options = ["steps", "tokens", "hours"].map((name) => create("option", { value: name }, name));
  const over = create("select", { onchange: onChange }, ...options);
  const shares = SHARES.map(([name, value]) => create("option", { value }, name));
  const share = create("select", { onchange: onChange }, ...shares);
  const isLog = create("input", { type: "checkbox", onchange: onChange });
  const element = create(
    "div",
    { class: "chart-control" },
    create("label", {}, "Over ", over),
    create("label", {}, "Show ", share),
    create("label", {}, isLog, " logarithmic"),
    ...(runs.length > 1 ? [runButtons(runs, colors, onChange)] : []),
  );
  const chosen = () => ({ over: over.value, isLog: isLog.checked, share: Number(share.value) });
  return { element, chosen };
}

function runButtons(runs, colors, onChange) {
  const buttons = runs.map((run, i) => {
    const toggle = () => {
      run.isHidden = !run.isHidden;
      button.setAttribute("aria-pressed", `${!run.isHidden}`);
      onChange();
    };
    const attributes = { onclick: toggle, "aria-pressed": "true" };
    const button = create("button", attributes, lineSample(lookOf(colors, i)), run.name);
    return button;
  });
  return create("div", { class: "buttons", role: "group", "aria-label": "Runs shown" }, ...buttons);
}
