// How is the page laid out? A card for each run, and sections that appear when they have content.

import { create } from "gpt2/dom.js";
import { section, showFrame } from "gpt2/frame.js";
import { showCharts } from "gpt2/watch/charts.js";
import { createRunChoice } from "gpt2/watch/chosen.js";
import { lookOf } from "gpt2/watch/look.js";
import { showMoments } from "gpt2/watch/moments.js";
import { showSamples } from "gpt2/watch/samples.js";
import { saveButton } from "gpt2/watch/save.js";
import { runCard } from "gpt2/watch/summary.js";
import { showCheckpoints, showEvaluations } from "gpt2/watch/tables.js";

const CURVES = "How the run goes, step by step. Point at a curve to read its values.";
const SAMPLES =
  "What the model writes after the same words. Pale is what it wrote the time before, too.";
const MOMENTS = "Move the slider to see how the model becomes what it is.";
const EVALUATIONS = "What it scores on known tests, beside other models.";
const CHECKPOINTS = "What is kept of the run, to go on from or to use.";

/**
 * @typedef {object} Part of the page
 * @property {string} id
 * @property {string[]} needs names of the state that it shows
 * @property {(state: object) => boolean} has whether a state has something to show here
 * @property {HTMLElement} element
 * @property {{update: () => void}} view
 */

/**
 * Lay out the page; nothing is known of the runs yet.
 * @param {{colors: object, live: boolean}} page its data
 * @param {import("gpt2/watch/runs.js").Run[]} runs
 * @param {(run: object) => Promise<object | null>} historyOf
 * @returns {{notice: HTMLElement, update: (changed: string[]) => void}} `update` shows what is
 *   known now, of which some parts have changed
 */
export function layOut({ colors, live }, runs, historyOf) {
  const parts = partsOf(runs, colors, historyOf);
  const isOne = runs.length === 1;
  const cards = runs.map((run, i) => runCard(run, lookOf(colors, i), isOne ? "h1" : "h2", live));
  const notice = create("div", { class: "notice" });
  const title = isOne ? [] : [create("h1", {}, `${runs.length} runs`)];
  const grid = create("div", { class: "runs" }, ...cards.map(({ element }) => element));
  showFrame({
    brand: "Training",
    introduction: create("div", { class: "introduction" }, ...title, notice, grid),
    sections: parts.map(({ element }) => element),
    ending: create("p", {}, "This page is made by ", create("code", {}, commandOf(runs))),
    tools: live ? [saveButton("/run/file", `${runs.map(fileName).join("-")}.html`)] : [],
  });

  function update(changed) {
    const states = runs.map(({ state }) => state).filter(Boolean);
    cards.forEach((card) => card.update());
    for (const { id, needs, has, element, view } of parts) {
      showPart(element, id, states.some(has));
      if (needs.some((name) => changed.includes(name))) view.update();
    }
    document.title = documentTitle(runs);
  }

  parts.forEach(({ id, element }) => showPart(element, id, false));
  return { notice, update };
}

function partsOf(runs, colors, historyOf) {
  const choice = createRunChoice(runs, colors);
  const part = (id, title, lead, has, needs, show) => {
    let view;
    const element = section(id, title, lead, (element) => (view = show(element)));
    return { id, has, needs, element, view };
  };
  const showRunCharts = (element) => showCharts(element, runs, colors);
  const showRunSamples = (element) => showSamples(element, choice);
  const showRunMoments = (element) => showMoments(element, choice, colors, historyOf);
  const showFigures = (element) => showEvaluations(element, runs);
  const showFiles = (element) => showCheckpoints(element, runs);
  const rows = ["rows", "held_out", "band", "skipped"];
  const files = ["checkpoints", "held_out"];
  return [
    part("curves", "Curves", CURVES, hasCurves, rows, showRunCharts),
    part("samples", "Samples", SAMPLES, hasSamples, ["held_out"], showRunSamples),
    part("moments", "Moments", MOMENTS, hasMoments, ["moments"], showRunMoments),
    part("evaluations", "Evaluations", EVALUATIONS, hasEvaluations, ["evaluations"], showFigures),
    part("checkpoints", "Checkpoints", CHECKPOINTS, hasCheckpoints, files, showFiles),
  ];
}

const hasCurves = () => true; // or says that there are none yet
const hasMoments = ({ moments }) => moments.length > 0;
const hasSamples = ({ held_out: rows }) => rows.some(({ samples }) => samples?.length);
const hasEvaluations = ({ evaluations }) => evaluations.length > 0;
const hasCheckpoints = ({ checkpoints }) => checkpoints.length > 0;

/** Show or hide a section, and its link in the bar. */
function showPart(element, id, isShown) {
  element.hidden = !isShown;
  document.querySelector(`.bar a[href="#${id}"]`).parentElement.hidden = !isShown;
}

function fileName({ name }) {
  return name.replaceAll(/[^\w.-]+/g, "-");
}

function commandOf(runs) {
  return `gpt2 watch ${runs.map(({ directory }) => shellWord(directory)).join(" ")}`;
}

/** Return a text as one word of a shell. */
function shellWord(text) {
  return /^[\w./~-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** Return how far the runs are, for the tab of the browser. */
function documentTitle(runs) {
  const shares = runs.map(({ state }) => {
    const { step, steps } = state?.status ?? {};
    return steps ? `${Math.floor((100 * step) / steps)} %` : "…";
  });
  return `${shares.join(", ")}: ${runs.map(({ name }) => name).join(", ")}`;
}
