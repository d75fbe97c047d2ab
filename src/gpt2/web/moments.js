// What does a moment of training look like? Its positions, weights, attention and a sample.

import { lineChart } from "gpt2/chart.js";
import { create } from "gpt2/dom.js";
import { clearestHead } from "gpt2/heads.js";
import { colorScale, matrix } from "gpt2/matrix.js";
import { mosaic } from "gpt2/mosaic.js";
import { part, unpack } from "gpt2/packed.js";
import { written } from "gpt2/wording.js";

const IMAGE_SIDE = 340; // pixels of the longer side of the weights, at most

/**
 * @typedef {{element: HTMLElement, show: (moment: number) => void}} View
 */

/**
 * Show the position embeddings of a few channels.
 * @param {object} run
 * @param {object} colors
 * @returns {View}
 */
export function positionsView({ positions, channels }, { series, dashes }) {
  const packed = unpack(positions); // (moments, channels, positions)
  const x = Float32Array.from({ length: packed.shape[2] }, (_, i) => i);
  const at = (moment) => channels.map((_, i) => part(packed, moment, i).values);
  const lines = at(0).map((y, i) => {
    return { name: `channel ${channels[i]}`, x, y, color: series[i], dash: dashes[i] };
  });
  const most = packed.values.reduce((size, value) => Math.max(size, Math.abs(value)), 0);
  const axes = { xName: "position, in tokens", yName: "value", range: symmetric(most) };
  const chart = lineChart({ title: "Position embeddings", ...axes, lines });
  return { element: chart.element, show: (moment) => chart.show(at(moment)) };
}

/** @returns {[number, number]} a range around 0 with some room */
function symmetric(most) {
  return most ? [-1.02 * most, 1.02 * most] : [-1, 1];
}

/**
 * Show the first rows and columns of a weight matrix.
 * @param {object} run
 * @param {object} colors
 * @returns {View}
 */
export function weightsView(run, { weights: colors }) {
  const arrays = run.weights.map(unpack);
  const limit = run.weights_limit;
  const [rows, columns] = arrays[0].shape;
  const side = Math.max(1, Math.floor(IMAGE_SIDE / Math.max(rows, columns)));
  const image = matrix({
    title: `Weights: ${run.weights_name}, first ${rows} inputs and ${columns} outputs`,
    rows,
    columns,
    cell: [side, side],
    values: arrays[0].values,
    colors,
    low: -limit,
    high: limit,
    rowName: "input",
    columnName: "output",
  });
  const scale = colorScale(colors, `${written(-limit)} or less`, `${written(limit)} or more`);
  const show = (moment) => image.show({ values: arrays[moment].values });
  return { element: create("div", {}, image.element, scale), show };
}

/**
 * Show the attention of every head to a text, and of the head that is chosen.
 * @param {object} run
 * @param {object} colors
 * @param {number[]} [head] row and column to begin with; the clearest unless given
 * @returns {View & {head: () => number[]}} `head` returns the row and column that are chosen
 */
export function attentionView({ attention, tokens, blocks, heads }, { attention: colors }, head) {
  const T = tokens.length;
  const weights = wholeMaps(unpack(attention), T); // (moments, blocks, heads, tokens, tokens)
  let moment = weights.shape[0] - 1;
  let [row, column] = head ?? clearestHead({ weights: part(weights, moment) });
  const nameOf = (b, h) => `block ${blocks[b]}, head ${heads[h]}`;
  const valuesOf = (b, h) => part(weights, moment, b, h).values;
  const large = matrix({
    title: "",
    rows: T,
    columns: T,
    values: valuesOf(0, 0),
    colors,
    low: 0,
    high: 1,
    isRoot: true,
    rowName: "query",
    columnName: "key",
    rowLabels: tokens,
    columnLabels: tokens,
    blank: "in the future, hidden by the causal mask",
  });
  const all = mosaic({
    title: "Attention of all heads, a row a block: choose one",
    T,
    blocks,
    heads,
    colors,
    describe: nameOf,
    onChoose: choose,
  });

  function choose(...place) {
    [row, column] = place;
    all.choose(row, column);
    showLarge();
  }

  function showLarge() {
    large.show({ title: `Attention of ${nameOf(row, column)}`, values: valuesOf(row, column) });
  }

  function show(index) {
    moment = index;
    all.show(valuesOf);
    showLarge();
  }

  all.choose(row, column);
  const element = create("div", { class: "wide pair" }, all.element, large.element);
  return { element, show, head: () => [row, column] };
}

/** Return maps (..., T, T) from their lower triangles (..., T (T + 1) / 2); the rest is NaN. */
function wholeMaps({ shape, values }, T) {
  const outer = shape.slice(0, -1);
  const whole = new Float32Array(outer.reduce((size, n) => size * n, T * T)).fill(NaN);
  for (let row = 0, at = 0; at < values.length; row++) {
    const end = at + (row % T) + 1;
    whole.set(values.subarray(at, end), row * T);
    at = end;
  }
  return { shape: [...outer, T, T], values: whole };
}

/**
 * Show how the model continues a prompt.
 * @param {object} run
 * @returns {View}
 */
export function sampleView({ moments }) {
  const text = create("blockquote", {});
  const title = create("figcaption", {}, "A sample: the same prompt and draws at each moment");
  const show = (moment) => {
    const { prompt, sample } = moments[moment];
    text.replaceChildren(create("b", {}, prompt), sample);
  };
  return { element: create("figure", { class: "sample" }, title, text), show };
}
