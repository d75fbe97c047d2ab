// Which run does the reader look at closely? One choice for all sections that show one run.

import { create } from "gpt2/dom.js";
import { lineSample, lookOf } from "gpt2/watch/look.js";

/**
 * @typedef {object} RunChoice
 * @property {() => import("gpt2/watch/runs.js").Run} run that is chosen
 * @property {() => HTMLElement[]} chooser buttons for a section; none where there is one run
 * @property {(listener: () => void) => void} follow
 */

/**
 * Return the choice of a run.
 * @param {import("gpt2/watch/runs.js").Run[]} runs
 * @param {object} colors of the page
 * @returns {RunChoice}
 */
export function createRunChoice(runs, colors) {
  let chosen = runs[0];
  const listeners = [];
  const choose = (run) => {
    chosen = run;
    listeners.forEach((listener) => listener());
  };

  function chooser() {
    if (runs.length === 1) return [];
    const buttons = runs.map((run, i) => {
      const parts = [lineSample(lookOf(colors, i)), run.name];
      return create("button", { onclick: () => choose(run) }, ...parts);
    });
    const mark = () =>
      buttons.forEach((button, i) => button.setAttribute("aria-pressed", `${runs[i] === chosen}`));
    listeners.push(mark);
    mark();
    return [create("div", { class: "buttons", role: "group", "aria-label": "Run" }, ...buttons)];
  }

  return { run: () => chosen, chooser, follow: (listener) => listeners.push(listener) };
}
