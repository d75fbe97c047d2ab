// Which charts show the runs? Those of their steps and evaluations, all over the same axis.

import { lineChart } from "gpt2/chart.js";
import { create } from "gpt2/dom.js";
import { whenSeen } from "gpt2/seen.js";
import { lookOf } from "gpt2/watch/look.js";
import { controls } from "gpt2/watch/controls.js";
import { OVER, column, placesOf, smooth, sparse } from "gpt2/watch/columns.js";
import { hasDiverged } from "gpt2/watch/verdict.js";

const NATS = "nats a token";
const HELLASWAG = "hellaswag_acc_norm"; // of rows of held_out
const FAINT = 0.4; // opacity of single steps
const DRAW_EVERY = 200; // milliseconds at least, however many rows come

/**
 * @typedef {object} Kind of a chart
 * @property {string} title
 * @property {string} yName
 * @property {(state: object) => boolean} has something to show
 * @property {(run: object, look: object, over: string) => object} parts of a run: its lines, bands
 *   and marks
 * @property {boolean} [isLow] whether runs that have diverged may leave it, since they are far above
 */

/**
 * Fill a section with the charts of runs.
 * @param {HTMLElement} section
 * @param {import("gpt2/watch/runs.js").Run[]} runs
 * @param {object} colors of the page
 * @returns {{update: () => void}} `update` draws what is known now
 */
export function showCharts(section, runs, colors) {
  let pointed; // where the pointer is; undefined once all charts show it
  const onPoint = (x) => {
    if (pointed === undefined) requestAnimationFrame(pointAll);
    pointed = x;
  };
  const pointAll = () => {
    views.forEach(({ chart }) => chart.point(pointed));
    pointed = undefined;
  };
  const isOne = runs.length === 1;
  const kinds = isOne ? chartsOfOne(colors) : OF_SEVERAL;
  const views = kinds.map((kind) => {
    const { title, yName } = kind;
    const data = { title, yName, xName: OVER.steps, lines: [], isRobust: true, onPoint };
    const chart = lineChart({ ...data, isNamed: !isOne }); // by the bar
    const { element } = chart;
    return { kind, chart, element, draw: whenSeen(element, () => drawView(kind, chart)) };
  });
  views[0].element.classList.add("wide");
  const bar = controls(runs, colors, draw);
  const empty = create("p", {}, "No step is recorded yet; its curves will be here.");
  const grid = create("div", { class: "charts" }, ...views.map(({ element }) => element));
  section.append(bar.element, empty, grid);
  let timer = null;

  function update() {
    timer ??= setTimeout(draw, DRAW_EVERY);
  }

  function draw() {
    clearTimeout(timer);
    timer = null;
    const states = runs.map(({ state }) => state).filter(Boolean);
    for (const { kind, element, draw } of views) {
      element.hidden = !states.some(kind.has);
      if (!element.hidden) draw();
    }
    empty.hidden = views.some(({ element }) => !element.hidden);
    bar.element.hidden = !empty.hidden;
  }

  function drawView(kind, chart) {
    const { over, isLog, share } = bar.chosen();
    const places = runs.map((run, i) => ({ run, look: lookOf(colors, i) }));
    const known = places.filter(({ run }) => run.state);
    const parts = known.map(({ run, look }) => {
      const { lines, ...others } = kind.parts(run, look, over);
      const mayLeave = kind.isLow && hasDiverged(run.state);
      return { lines: lines.map((line) => ({ ...line, mayLeave })), ...others };
    });
    const all = (name) => parts.flatMap((part) => part[name] ?? []);
    chart.update({
      xName: OVER[over],
      isLog,
      unit: unitOf(known, over),
      window: windowOf(known, over, share),
      lines: all("lines"),
      bands: distinct(all("bands")),
      marks: all("marks"),
    });
  }

  draw();
  return { update };
}

/** Return the bands without those that are a part of another: runs of one recipe have the same. */
function distinct(bands) {
  const points = bands.map(
    ({ x, low, high }) => new Set(x.map((place, i) => `${[place, low[i], high[i]]}`)),
  );
  const isIn = (i, j) => [...points[i]].every((point) => points[j].has(point));
  const isPart = (i, j) => isIn(i, j) && !(isIn(j, i) && i <= j) && !bands[j].isHidden;
  return bands.filter((_, i) => !bands.some((_, j) => isPart(i, j)));
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

function chartsOfOne(colors) {
  return [lossOfOne(colors), ...OTHERS.map(ofOne), ACCURACY];
}

function lossOfOne({ series: [training, held] }) {
  const parts = (run, look, over) => {
    const { x, y } = column(run.state.rows, "loss", over);
    const lines = [
      { name: "training, each step", x, y, color: training, faint: FAINT },
      { name: "training, mean", ...smooth({ x, y }), color: training },
      { ...heldOut(run, { color: held }, over), name: "held out" },
    ];
    const bands = bandOf(run, { color: held }, over).map((band) => {
      return { ...band, name: "held out, range of like runs" };
    });
    return { lines, bands, marks: skippedOf(run, { color: held }, over, "skipped step") };
  };
  const has = (state) => hasLoss(state) || hasHeldOut(state);
  return { title: "Loss", yName: NATS, has, parts };
}

const hasLoss = ({ rows }) => rows.some(({ loss }) => loss != null);
const hasHeldOut = ({ held_out: rows }) => rows.some(({ val_loss: loss }) => loss != null);

const ACCURACY = {
  title: "HellaSwag, while it trains",
  yName: "accuracy",
  has: ({ held_out: rows }) => rows.some((row) => row[HELLASWAG] != null),
  parts: (run, look, over) => ({ lines: [heldOut(run, look, over, HELLASWAG)] }),
};

const OTHERS = [
  { name: "learning_rate", title: "Learning rate", yName: "learning rate", isExact: true },
  { name: "grad_norm", title: "Gradient norm", yName: "before it is clipped", isLow: true },
  { name: "tokens_per_second", title: "Tokens a second", yName: "tokens a second" },
  { name: "mfu", title: "Share of peak FLOP/s (MFU)", yName: "%" },
];

function hasColumn(name) {
  return ({ rows }) => rows.some((row) => row[name] != null);
}

function stepsOf({ state }, name, over) {
  const { x, y } = column(state.rows, name, over);
  return name === "mfu" ? { x, y: y.map((share) => share && 100 * share) } : { x, y };
}

/** Return a chart of one run: each step, and the mean of those around it. */
function ofOne({ name, title, yName, isExact }) {
  const parts = (run, { color }, over) => {
    const steps = stepsOf(run, name, over);
    if (isExact) return { lines: [{ name: "each step", ...sparse(steps), color }] };
    const each = { name: "each step", ...steps, color, faint: FAINT };
    return { lines: [each, { name: "mean", ...smooth(steps), color }] };
  };
  return { title, yName, has: hasColumn(name), parts };
}

/** Return a chart of several runs, whose single steps would hide each other. */
function ofSeveral({ name, title, yName, isExact, isLow }) {
  const parts = (run, look, over) => {
    const steps = stepsOf(run, name, over);
    const line = isExact ? sparse(steps) : smooth(steps);
    return { lines: [{ name: run.name, ...line, ...look, isHidden: run.isHidden }] };
  };
  return { title, yName, isLow, has: hasColumn(name), parts };
}

const HELD_OUT_OF_SEVERAL = {
  title: "Held-out loss",
  yName: NATS,
  isLow: true,
  has: hasHeldOut,
  parts: (run, look, over) => {
    const name = `range of runs like ${run.name}`;
    const bands = bandOf(run, look, over).map((band) => ({ ...band, name }));
    return { lines: [heldOut(run, look, over)], bands };
  },
};

const TRAINING_OF_SEVERAL = {
  title: "Training loss, mean over the steps around",
  yName: NATS,
  isLow: true,
  has: hasLoss,
  parts: (run, look, over) => ({
    ...ofSeveral({ name: "loss" }).parts(run, look, over),
    marks: skippedOf(run, look, over, `steps that ${run.name} skipped`),
  }),
};

const OF_SEVERAL = [HELD_OUT_OF_SEVERAL, TRAINING_OF_SEVERAL, ...OTHERS.map(ofSeveral), ACCURACY];
