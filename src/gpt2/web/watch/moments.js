// How does the model become what it is? The recorded moments of the chosen run, as they come.

import { create } from "gpt2/dom.js";
import { replaceContent } from "gpt2/keep.js";
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
  const box = create("div");
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
    const content = create("div");
    const time = showTime(content, history, colors, before?.leave());
    replaceContent(box, () => [content]);
    return time;
  }

  function update() {
    if (choice.run().state?.moments.length) load();
    else box.replaceChildren(create("p", { class: "muted" }, "This run has no moments yet."));
  }

  choice.follow(update);
  return { update };
}
