// How is the page laid out? A card for each run, and sections that appear when they have content.

import { create } from "gpt2/dom.js";
import { themeButton } from "gpt2/theme.js";
import { showCharts } from "gpt2/watch/charts.js";
import { createRunChoice } from "gpt2/watch/chosen.js";
import { lookOf } from "gpt2/watch/look.js";
import { showMoments } from "gpt2/watch/moments.js";
import { showSamples } from "gpt2/watch/samples.js";
import { runCard } from "gpt2/watch/summary.js";
import { showCheckpoints, showEvaluations } from "gpt2/watch/tables.js";

const NAMES = [
  { id: "curves", title: "Curves", needs: ["rows", "held_out", "band", "skipped"], lead: "" },
  {
    id: "samples",
    title: "Samples",
    needs: ["held_out"],
    lead: "What the model writes after the same words. Pale is what it wrote the time before, too.",
  },
  {
    id: "moments",
    title: "Moments",
    needs: ["moments"],
    lead: "Move the slider to see how the model becomes what it is.",
  },
  {
    id: "evaluations",
    title: "Evaluations",
    needs: ["evaluations"],
    lead: "What it scores on known tests, beside other models.",
  },
  {
    id: "checkpoints",
    title: "Checkpoints",
    needs: ["checkpoints", "held_out"],
    lead: "What is kept of the run, to go on from or to use.",
  },
];

const HAS = {
  curves: () => true,
  samples: ({ held_out: evaluations }) => evaluations.some(({ samples }) => samples?.length),
  moments: ({ moments }) => moments.length > 0,
  evaluations: ({ evaluations }) => evaluations.length > 0,
  checkpoints: ({ checkpoints }) => checkpoints.length > 0,
};

/**
 * Lay out the page; nothing is known of the runs yet.
 * @param {{colors: object}} page its data
 * @param {import("gpt2/watch/runs.js").Run[]} runs
 * @param {(run: object) => Promise<object | null>} historyOf
 * @param {string | null} file where the page is to be had as one file
 * @returns {{notice: HTMLElement, update: (changed: string[]) => void}} `update` shows what is known
 *   now, of which some parts have changed
 */
export function layOut({ colors }, runs, historyOf, file) {
  const choice = createRunChoice(runs, colors);
  const fill = {
    curves: (element) => showCharts(element, runs, colors),
    samples: (element) => showSamples(element, choice),
    moments: (element) => showMoments(element, choice, colors, historyOf),
    evaluations: (element) => showEvaluations(element, runs),
    checkpoints: (element) => showCheckpoints(element, runs),
  };
  const sections = NAMES.map((name) => section(name, fill[name.id]));
  const cards = runs.map((run, i) => runCard(run, lookOf(colors, i), runs.length > 1 ? "h2" : "h1"));
  const notice = create("div", { class: "notice" });
  const title = runs.length > 1 ? [create("h1", {}, `${runs.length} runs`)] : [];
  const grid = create("div", { class: "runs" }, ...cards.map(({ element }) => element));
  const main = document.getElementById("main");
  const skip = create("a", { class: "skip", href: "#main" }, "Skip to the content");
  main.before(skip, bar(sections, file));
  main.append(create("div", { class: "introduction" }, ...title, notice, grid));
  main.append(...sections.map(({ element }) => element));

  function update(changed) {
    const states = runs.map(({ state }) => state).filter(Boolean);
    cards.forEach((card) => card.update());
    for (const { id, needs, element, link, view } of sections) {
      element.hidden = link.hidden = !states.some(HAS[id]);
      if (needs.some((part) => changed.includes(part))) view.update();
    }
    document.title = documentTitle(runs);
  }

  return { notice, update };
}

function section({ id, title, lead, needs }, fill) {
  const heading = create("h2", { id: `${id}-title` }, title);
  const attributes = { id, "aria-labelledby": heading.id, tabindex: -1, hidden: true };
  const element = create("section", attributes, heading);
  if (lead) element.append(create("p", { class: "lead" }, lead));
  const link = create("li", { hidden: true }, create("a", { href: `#${id}` }, title));
  return { id, needs, element, link, view: fill(element) };
}

function bar(sections, file) {
  const links = create("ul", {}, ...sections.map(({ link }) => link));
  const name = create("a", { class: "brand", href: "#main" }, "Training");
  const save = create("a", { class: "save", href: file, download: "" }, "Save as a file");
  const contents = create("nav", { "aria-label": "Contents" }, links);
  return create("header", { class: "bar" }, name, contents, ...(file ? [save] : []), themeButton());
}

/** Return how far the runs are, for the tab of the browser. */
function documentTitle(runs) {
  const shares = runs.map(({ state }) => {
    const { step, steps } = state?.status ?? {};
    return steps ? `${Math.floor((100 * step) / steps)} %` : "…";
  });
  return `${shares.join(", ")} · ${runs.map(({ name }) => name).join(", ")}`;
}
