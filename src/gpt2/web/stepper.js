// How are steps shown, one at a time, of the head that is chosen?

import { announce } from "gpt2/announce.js";
import { create } from "gpt2/dom.js";
import { lookOf } from "gpt2/looks.js";
import { colorScale } from "gpt2/matrix.js";
import { headOf } from "gpt2/products.js";
import { whenSeen } from "gpt2/seen.js";

/**
 * @typedef {object} Step
 * @property {string} name on its button
 * @property {(head: Head, look: Look) => string} text
 * @property {string} [code] the same in Python
 * @property {(head: Head, look: Look) => Node} view
 * @typedef {ReturnType<typeof headOf>} Head
 * @typedef {ReturnType<typeof lookOf>} Look
 */

/**
 * Show steps, one at a time, of the chosen head.
 * @param {string} name
 * @param {Step[]} steps
 * @param {import("gpt2/inside.js").OpenedText} text
 * @param {import("gpt2/inside.js").Colors} colors
 * @param {import("gpt2/choice.js").Choice} choice
 */
export function stepper(name, steps, text, colors, choice) {
  let current = choice.chosen.steps?.[name] ?? 0;
  const go = (step) => {
    if (step < 0 || step >= steps.length) return;
    current = step;
    choice.set({ steps: { ...choice.chosen.steps, [name]: step } });
    show();
    if (document.activeElement?.matches(":disabled")) buttons[current].focus(); // there is no step further
    announce(`Step ${step + 1} of ${steps.length}: ${steps[step].name}`);
  };
  const buttons = steps.map((step, i) =>
    create("button", { onclick: () => go(i) }, `${i + 1}. ${step.name}`),
  );
  const back = create("button", { onclick: () => go(current - 1) }, "Back");
  const next = create("button", { onclick: () => go(current + 1) }, "Next step");
  const content = create("div", { class: "step" });
  const bar = create("div", { class: "step-bar", role: "group", "aria-label": name }, ...buttons);
  bar.addEventListener("keydown", (event) => {
    const to = { ArrowLeft: current - 1, ArrowRight: current + 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    go(to);
    buttons[current].focus();
  });

  function show() {
    const { block, head } = choice.chosen;
    const step = steps[current];
    const numbers = headOf(text, block, head);
    const look = lookOf(text, numbers, colors, choice.chosen, content.clientWidth);
    buttons.forEach((button, i) => button.setAttribute("aria-current", `${i === current}`));
    back.disabled = current === 0;
    next.disabled = current === steps.length - 1;
    content.replaceChildren(
      create("p", {}, step.text(numbers, look)),
      ...(step.code ? [create("pre", {}, create("code", {}, step.code))] : []),
      step.view(numbers, look),
      colorScale(colors.signed, "below 0", "above 0, each matrix by its own scale"),
    );
  }

  choice.follow(["block", "head", "token"], whenSeen(content, show));
  const picker = headPicker(text, choice);
  const walk = create("p", {}, back, " ", next);
  return create("div", { class: "stepper" }, picker, bar, content, walk);
}

function headPicker(text, choice) {
  const [L, H] = text.weights.shape;
  const pick = (name, count) => {
    const options = Array.from({ length: count }, (_, i) => create("option", { value: i }, `${i}`));
    const change = () => choice.set({ [name]: Number(select.value) });
    const select = create("select", { onchange: change }, ...options);
    choice.follow([name], (chosen) => (select.value = String(chosen[name])));
    return create("label", {}, name === "block" ? "Block " : "Head ", select);
  };
  return create("p", { class: "picker" }, pick("block", L), " ", pick("head", H));
}
