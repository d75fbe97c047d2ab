// What does a moment of training look like? Its positions, weights, attention and a sample.

import { lineChart } from "gpt2/chart.js";
import { create } from "gpt2/dom.js";
import { grid } from "gpt2/grid.js";
import { clearestHead, SCALE_END } from "gpt2/heads.js";
import { colorScale, matrix, paint } from "gpt2/matrix.js";
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

function symmetric(most) {
  return most ? [-1.02 * most, 1.02 * most] : [-1, 1];
}

/**
 * Show the first rows and columns of a weight matrix.
 * @param {object} run
 * @param {object} colors
 * @returns {View}
 */
export function weightsView({ weights, weights_name: name }, { weights: colors }) {
  const arrays = weights.map(unpack);
  const [rows, columns] = arrays[0].shape;
  // Beyond three deviations of the last moment all is black or white.
  const limit = Number((3 * deviation(arrays.at(-1).values)).toPrecision(2));
  const side = Math.max(1, Math.floor(IMAGE_SIDE / Math.max(rows, columns)));
  const image = matrix({
    title: `Weights: ${name}, first ${rows} inputs and ${columns} outputs`,
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

function deviation(values) {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return Math.sqrt(squares / values.length) || 1;
}

/**
 * Show the attention of every head to a text, and of the head that is chosen.
 * @param {object} run
 * @param {object} colors
 * @returns {View}
 */
export function attentionView({ attention, tokens, blocks, heads }, { attention: colors }) {
  const T = tokens.length;
  const packed = wholeMaps(unpack(attention), T); // (moments, blocks, heads, tokens, tokens)
  const [count, blockCount, headCount] = packed.shape;
  const scale = { rows: T, columns: T, colors, low: 0, high: 1, isRoot: true };
  let moment = count - 1;
  let [block, head] = clearestHead({ weights: part(packed, moment) });
  const nameOf = (b, h) => `block ${blocks[b]}, head ${heads[h]}`;
  const large = matrix({
    ...scale,
    title: "",
    values: part(packed, 0, 0, 0).values,
    rowName: "query",
    columnName: "key",
    rowLabels: tokens,
    columnLabels: tokens,
    blank: "in the future, hidden by the causal mask",
  });
  const zoom = Math.max(1, Math.round(96 / T / Math.max(1, headCount / 4))); // pixels a cell
  const side = (T + 1) * zoom;
  const all = grid({
    name: "Attention of all heads, a row a block",
    rows: blockCount,
    columns: headCount,
    cell: [side, side],
    rowLabels: blocks.map(String),
    columnLabels: heads.map(String),
    describe: nameOf,
    onChoose: (...chosen) => {
      [block, head] = chosen;
      showLarge();
    },
  });
  [all.canvas.width, all.canvas.height] = [headCount * (T + 1), blockCount * (T + 1)];
  all.mark(block, head);

  function showLarge() {
    large.show({ title: `Attention of ${nameOf(block, head)}`, values: valuesOf(block, head) });
  }

  function valuesOf(b, h) {
    return part(packed, moment, b, h).values;
  }

  function show(index) {
    moment = index;
    showLarge();
    for (let b = 0; b < blockCount; b++) {
      for (let h = 0; h < headCount; h++) {
        paint(all.canvas, { ...scale, values: valuesOf(b, h) }, h * (T + 1), b * (T + 1));
      }
    }
  }

  const overview = create(
    "figure",
    { class: "matrix all-heads" },
    create("figcaption", {}, "Attention of all heads, a row a block: choose one"),
    create("div", { class: "scroll" }, all.element),
    all.readout,
    colorScale(colors, "0", SCALE_END),
  );
  return { element: create("div", { class: "wide pair" }, overview, large.element), show };
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
    const { prompt = "", sample } = moments[moment];
    text.replaceChildren(create("b", {}, prompt), sample);
  };
  return { element: create("figure", { class: "sample" }, title, text), show };
}
