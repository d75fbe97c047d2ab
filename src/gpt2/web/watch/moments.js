// How does the model become what it is? The recorded moments of the chosen run, as they come.

import { create } from "gpt2/dom.js";
import { whenSeen } from "gpt2/seen.js";
import { showTime } from "gpt2/time.js";

/**
 * Fill a section with the moments of the chosen run.
 * @param {HTMLElement} section
 * @param {import("gpt2/watch/chosen.js").RunChoice} choice
 * @param {object} colors of the page
 * @param {(run: import("gpt2/watch/runs.js").Run) => Promise<object | null>} historyOf
 * @returns {{update: () => void}}
 */
export function showMoments(section, choice, colors, historyOf) {
  const box = create("div", { class: "time" });
  section.append(...choice.chooser(), box);
  let shown = null; // {run, steps, time} that the box shows, or is about to
  const load = whenSeen(box, async () => {
    const run = choice.run();
    const steps = `${run.state.moments}`;
    if (shown?.run === run && shown.steps === steps) return;
    const before = shown?.run === run ? shown.time : null;
    shown = { run, steps, time: before };
    const history = await historyOf(run).catch(() => null);
    if (shown.run !== run || shown.steps !== steps) return; // newer ones are asked for already
    if (history?.moments) shown.time = show(history, before);
    else shown.steps = ""; // asked again with the next moment
  });

  function show(history, before) {
    const place = before?.leave();
    const open = [...box.querySelectorAll("details")].map((details) => details.open);
    const focused = focusPlace(box);
    const content = create("div", {});
    box.replaceChildren(content);
    const time = showTime(content, history, colors, place);
    box.querySelectorAll("details").forEach((details, i) => (details.open = open[i] ?? false));
    focused(box);
    return time;
  }

  function update() {
    if (choice.run().state?.moments.length) load();
    else box.replaceChildren(create("p", { class: "muted" }, "This run has no moments yet."));
  }

  choice.follow(update);
  return { update };
}

const FOCUSED = "a, button, input, select, summary, [tabindex]";

/** Return a function that puts the focus back to where it is now, in the same parts made anew. */
function focusPlace(box) {
  const index = [...box.querySelectorAll(FOCUSED)].indexOf(document.activeElement);
  return (box) => {
    if (index >= 0) box.querySelectorAll(FOCUSED)[index]?.focus({ preventScroll: true });
  };
}
