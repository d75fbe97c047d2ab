// Which kinds of charts do runs have? Their losses and figures of each step, and their accuracy.

import { column, placesOf, smooth, sparse } from "gpt2/watch/columns.js";

const NATS = "nats a token";
const HELLASWAG = "hellaswag_acc_norm"; // of rows of held_out
const FAINT = 0.4; // opacity of single steps

/**
 * @typedef {object} Kind of a chart
 * @property {string} title
 * @property {string} yName
 * @property {(state: object) => boolean} has something to show
 * @property {(run: object, look: object, over: string) => object} parts of a run: its lines, bands
 *   and marks
 */

/**
 * Return the kinds of charts of some runs.
 * @param {number} count of the runs
 * @param {object} colors of the page
 * @returns {Kind[]}
 */
export function kindsOf(count, colors) {
  if (count === 1) return [lossOfOne(colors), ...OTHERS.map(ofOne), ACCURACY];
  return [HELD_OUT_OF_SEVERAL, TRAINING_OF_SEVERAL, ...OTHERS.map(ofSeveral), ACCURACY];
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
  { name: "grad_norm", title: "Gradient norm", yName: "before it is clipped" },
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
function ofSeveral({ name, title, yName, isExact }) {
  const parts = (run, look, over) => {
    const steps = stepsOf(run, name, over);
    const line = isExact ? sparse(steps) : smooth(steps);
    return { lines: [{ name: run.name, ...line, ...look, isHidden: run.isHidden }] };
  };
  return { title, yName, has: hasColumn(name), parts };
}

const HELD_OUT_OF_SEVERAL = {
  title: "Held-out loss",
  yName: NATS,
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
  has: hasLoss,
  parts: (run, look, over) => ({
    ...ofSeveral({ name: "loss" }).parts(run, look, over),
    marks: skippedOf(run, look, over, `steps that ${run.name} skipped`),
  }),
};
