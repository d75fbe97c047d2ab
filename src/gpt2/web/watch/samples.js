// What did the model write, and how has that changed? Its samples of each prompt, newest first.

import { create } from "gpt2/dom.js";
import { withCommas } from "gpt2/amounts.js";

const AT_FIRST = 4; // samples of a prompt
const MORE = 20;

/**
 * Fill a section with the samples of the chosen run.
 * @param {HTMLElement} section
 * @param {import("gpt2/watch/chosen.js").RunChoice} choice
 * @returns {{update: () => void}}
 */
export function showSamples(section, choice) {
  const list = create("div", { class: "prompts", tabindex: -1 });
  const counts = new Map(); // how many samples of a prompt the reader wants
  const more = create("button", { onclick: showMore }, "Earlier samples");
  let known = [];
  section.append(...choice.chooser(), list, create("p", {}, more));

  function update() {
    known = byPrompt(choice.run().state?.held_out ?? []);
    const none = create("p", { class: "muted" }, "This run has no samples yet.");
    list.replaceChildren(...(known.length ? known.map(promptView) : [none]));
    more.hidden = known.every(({ prompt, samples }) => samples.length <= wanted(prompt));
  }

  function wanted(prompt) {
    return counts.get(prompt) ?? AT_FIRST;
  }

  function showMore() {
    for (const { prompt } of known) counts.set(prompt, wanted(prompt) + MORE);
    update();
    if (more.hidden) list.focus();
  }

  function promptView({ prompt, samples }) {
    const shown = samples.slice(0, wanted(prompt));
    const items = shown.map((sample, i) => sampleView(sample, samples[i + 1]));
    return create("section", {}, create("h3", {}, prompt), create("ol", {}, ...items));
  }

  choice.follow(update);
  return { update };
}

/** Return the samples of each prompt, the newest first. */
function byPrompt(evaluations) {
  const found = new Map();
  for (const { step, samples = [] } of evaluations) {
    for (const { prompt, text } of samples) {
      if (!found.has(prompt)) found.set(prompt, []);
      found.get(prompt).unshift({ step, text });
    }
  }
  return [...found].map(([prompt, samples]) => ({ prompt, samples }));
}

/** Show a sample; as far as it begins as the one before it, it is pale. */
function sampleView({ step, text }, before) {
  const same = before ? sameStart(text, before.text) : 0;
  const start = create("span", { class: "muted" }, text.slice(0, same));
  const place = create("span", { class: "sample-step" }, `step ${withCommas(step)}`);
  return create("li", {}, place, create("blockquote", {}, start, text.slice(same)));
}

/** Return how many characters two texts begin with alike, in whole words. */
function sameStart(text, other) {
  let same = 0;
  while (same < text.length && text[same] === other[same]) same++;
  return same === text.length ? same : text.lastIndexOf(" ", same) + 1;
}
