// Which charts show the runs? Those of their steps and evaluations, all over the same axis.

import { lineChart } from "gpt2/chart.js";
import { create } from "gpt2/dom.js";
import { lookOf } from "gpt2/watch/look.js";
import { controls } from "gpt2/watch/controls.js";
import { OVER, column, placesOf, smoothed } from "gpt2/watch/columns.js";

const NATS = "nats a token";

/**
 * @typedef {object} Kind of a chart
 * @property {string} title
 * @property {string} yName
 * @property {(run: object, look: object, over: string) => object} parts of a run: lines, bands, marks
 */

/**
 * Fill a section with the charts of runs.
 * @param {HTMLElement} section
 * @param {import("gpt2/watch/runs.js").Run[]} runs
 * @param {object} colors of the page
 * @returns {{update: () => void}} `update` draws what is known now
 */
export function showCharts(section, runs, colors) {
  const kinds = runs.length === 1 ? [lossOfOne(colors), ...OTHERS.map(ofOne)] : OF_SEVERAL;
  const views = kinds.map((kind) => {
    const onPoint = (x) => views.forEach(({ chart }) => chart.point(x));
    const { title, yName } = kind;
    const data = { title, yName, xName: OVER.steps, lines: [], isRobust: true, onPoint };
    return { kind, chart: lineChart(data) };
  });
  views[0].chart.element.classList.add("wide");
  const bar = controls(runs, colors, update);
  const empty = create("p", { class: "lead" }, "No step is recorded yet; the lines will be here.");
  const elements = views.map(({ chart }) => chart.element);
  section.append(bar.element, empty, create("div", { class: "charts" }, ...elements));
  let isWaiting = false;

  function update() {
    if (!isWaiting) requestAnimationFrame(draw);
    isWaiting = true; // several events may come in a frame
  }

  function draw() {
    isWaiting = false;
    const { over, isLog, share } = bar.chosen();
    const known = runs.map((run, i) => ({ run, look: lookOf(colors, i) })).filter(({ run }) => run.state);
    const common = { xName: OVER[over], isLog, unit: unitOf(known, over), window: windowOf(known, over, share) };
    for (const { kind, chart } of views) {
      const parts = known.map(({ run, look }) => kind.parts(run, look, over));
      const lines = parts.flatMap((part) => part.lines);
      chart.element.hidden = !lines.some(({ y }) => y.some((value) => value !== null));
      const [bands, marks] = ["bands", "marks"].map((name) => parts.flatMap((part) => part[name] ?? []));
      chart.update({ ...common, lines, bands, marks });
    }
    const isEmpty = elements.every(({ hidden }) => hidden);
    empty.hidden = !isEmpty;
    bar.element.hidden = isEmpty;
  }

  return { update };
}

/** Return the place of the first row, where a logarithmic axis may begin. */
function unitOf(known, over) {
  const firsts = known.map(({ run }) => column(run.state.rows.slice(0, 1), "step", over).x[0]);
  return Math.min(...firsts.filter((first) => first > 0), over === "steps" ? 1 : Infinity);
}

/** Return the last share of what the shown runs have gone through; undefined for all of it. */
function windowOf(known, over, share) {
  if (share === 1) return undefined;
  const lasts = known
    .filter(({ run }) => !run.isHidden)
    .map(({ run }) => column(run.state.rows.slice(-1), "step", over).x[0] ?? 0);
  const last = Math.max(...lasts, 0);
  return last ? [last * (1 - share), last] : undefined;
}

function heldOut({ state, name, isHidden }, { color, dash }, over, column = "val_loss") {
  const rows = state.held_out.filter((row) => row[column] != null);
  const places = placesOf(state.rows, rows.map(({ step }) => step), over);
  const known = rows.map((row, i) => [places[i], row[column]]).filter(([x]) => x !== null);
  const [x, y] = [known.map(([x]) => x), known.map(([, y]) => y)];
  return { name, x, y, color, dash, dots: true, isHidden };
}

function bandOf({ state, name, isHidden }, { color }, over) {
  const places = placesOf(state.rows, state.band.map(([step]) => step), over);
  const known = state.band.map(([, low, high], i) => ({ x: places[i], low, high }));
  const there = known.filter(({ x }) => x !== null);
  const [x, low, high] = ["x", "low", "high"].map((key) => there.map((each) => each[key]));
  return x.length ? [{ name, x, low, high, color, isHidden }] : [];
}

function skippedOf({ state, isHidden }, { color }, over, name) {
  const x = placesOf(state.rows, state.skipped, over).filter((place) => place !== null);
  return x.length ? [{ name, x, color, isHidden }] : [];
}

function lossOfOne({ series: [training, held] }) {
  const parts = (run, look, over) => {
    const { x, y } = column(run.state.rows, "loss", over);
    const lines = [
      { name: "training, each step", x, y, color: training, faint: true },
      { name: "mean", x, y: smoothed(y), color: training },
      { ...heldOut(run, { color: held }, over), name: "held out" },
    ];
    const bands = bandOf(run, { color: held }, over).map((band) => {
      return { ...band, name: "held out, range of like runs" };
    });
    return { lines, bands, marks: skippedOf(run, { color: held }, over, "skipped step") };
  };
  return { title: "Loss", yName: NATS, parts };
}

const accuracy = {
  title: "HellaSwag, while it trains",
  yName: "accuracy",
  parts: (run, look, over) => ({ lines: [heldOut(run, look, over, "hellaswag_acc_norm")] }),
};

const OTHERS = [
  { name: "learning_rate", title: "Learning rate", yName: "of the matrices", isExact: true },
  { name: "grad_norm", title: "Gradient norm", yName: "before it is clipped" },
  { name: "tokens_per_second", title: "Tokens a second", yName: "tokens a second" },
  { name: "mfu", title: "Share of peak FLOP/s (MFU)", yName: "share" },
];

/** Return a chart of one run: each step, and the mean of those around it. */
function ofOne({ name, title, yName, isExact }) {
  const parts = (run, { color }, over) => {
    const { x, y } = column(run.state.rows, name, over);
    const line = { name: "each step", x, y, color };
    const mean = { name: "mean", x, y: smoothed(y), color };
    return { lines: isExact ? [line] : [{ ...line, faint: true }, mean] };
  };
  return { title, yName, parts };
}

/** Return a chart of several runs, whose single steps would hide each other. */
function ofSeveral({ name, title, yName, isExact }) {
  const parts = (run, look, over) => {
    const { x, y } = column(run.state.rows, name, over);
    const { name: runName, isHidden } = run;
    return { lines: [{ name: runName, x, y: isExact ? y : smoothed(y), ...look, isHidden }] };
  };
  return { title, yName, parts };
}

const HELD_OUT_OF_SEVERAL = {
  title: "Held-out loss",
  yName: NATS,
  parts: (run, look, over) => {
    const bands = bandOf(run, look, over).map((band) => {
      return { ...band, name: `range of runs like ${run.name}` };
    });
    return { lines: [heldOut(run, look, over)], bands };
  },
};

const TRAINING_OF_SEVERAL = {
  title: "Training loss, mean over the steps around",
  yName: NATS,
  parts: (run, look, over) => ({
    ...ofSeveral({ name: "loss" }).parts(run, look, over),
    marks: skippedOf(run, look, over, `steps that ${run.name} skipped`),
  }),
};

const OF_SEVERAL = [HELD_OUT_OF_SEVERAL, TRAINING_OF_SEVERAL, ...OTHERS.map(ofSeveral), accuracy];
