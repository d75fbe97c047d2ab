// Why is attention a matrix product? From an average by a loop to many heads, on true values.

import { create } from "gpt2/dom.js";
import { productView, stepView, sumOf } from "gpt2/equations.js";
import { lookOf } from "gpt2/looks.js";
import { matrix } from "gpt2/matrix.js";
import { averagesByLoop, averagingMatrix, headOf, largestDifference } from "gpt2/products.js";
import { masked, product, softmaxRows } from "gpt2/products.js";
import { stepper } from "gpt2/stepper.js";
import { written } from "gpt2/wording.js";

/**
 * Show the lesson with the values of the chosen head.
 * @param {import("gpt2/inside.js").OpenedText} text
 * @param {import("gpt2/inside.js").Colors} colors
 * @param {import("gpt2/choice.js").Choice} choice
 */
export function showLesson(text, colors, choice) {
  return stepper("Steps of the lesson", LESSON, text, colors, choice);
}

/** @type {import("gpt2/stepper.js").Step[]} */
const LESSON = [
  {
    name: "A loop",
    text: () =>
      "What can a token know of those before it? The simplest: the average of their values " +
      "and its own. Two loops compute it.",
    code: "for t in range(T):\n    for s in range(t + 1):\n        out[t] += v[s] / (t + 1)",
    view: ({ T, D, values }, look) => {
      const averages = averagesByLoop(values, T, D);
      return stepView({
        before: look.vectors("V, the values", values),
        after: look.vectors("Averages", averages),
        shapes: `(${T} × ${D}), each row from those above it`,
        start: [look.token, 0],
        arithmetic: (row, column) => {
          const terms = Array.from({ length: row + 1 }, (_, s) => [values[s * D + column]]);
          const average = written(averages[row * D + column]);
          return `(${sumOf(terms)}) / ${row + 1} = ${average}`;
        },
      });
    },
  },
  {
    name: "A triangular matrix",
    text: ({ T, D, values }) =>
      "The same averages are one product: row t of a lower-triangular matrix has 1/(t + 1) for " +
      `each token up to t, and 0 for those after it. ${same(
        averagesByLoop(values, T, D),
        product(averagingMatrix(T), values, T, T, D),
      )}`,
    code: "a = torch.ones(T, T).tril()\na = a / a.sum(dim=1, keepdim=True)\nout = a @ v",
    view: ({ T, D, values }, look) => weightsTimesValues(averagingMatrix(T), T, D, values, look),
  },
  {
    name: "Softmax of zeros",
    text: ({ T }) =>
      "The triangle comes out of softmax, too: scores of 0, with -∞ for what comes later. Equal " +
      `scores, equal weights. ${same(averagingMatrix(T), softmaxRows(zeros(T), T))}`,
    code:
      'scores = torch.zeros(T, T).masked_fill(~mask, float("-inf"))\n' +
      "out = scores.softmax(dim=-1) @ v",
    view: ({ T }, look) => {
      const weights = softmaxRows(zeros(T), T);
      return stepView({
        before: look.scores("Scores: all 0", zeros(T)),
        after: look.weights("Weights", weights),
        shapes: `(${T} × ${T}), each row by itself`,
        start: [look.token, 0],
        byRow: true,
        arithmetic: (row, column) =>
          column > row
            ? "exp(-∞) = 0"
            : `exp(0) / (exp(0) · ${row + 1}) = ${written(1 / (row + 1))}`,
      });
    },
  },
  {
    name: "Queries and keys",
    text: ({ T, D, values, output }, { block, head }) =>
      "Now the scores need not be 0: each is the query of a token times the key of another, as " +
      "the steps above show. So tokens choose whom they listen to. In " +
      `block ${block}, head ${head} this moves the output by up to ` +
      `${written(largestDifference(output, averagesByLoop(values, T, D)))} from the average.`,
    code:
      'scores = (q @ k.T * scale).masked_fill(~mask, float("-inf"))\n' +
      "out = scores.softmax(dim=-1) @ v",
    view: ({ T, D, weights, values }, look) => weightsTimesValues(weights, T, D, values, look),
  },
  {
    name: "Many heads at once",
    text: (_, { text }) =>
      `A block has ${count(text.queries.shape[1], "head")}, each with queries, keys and values ` +
      "in its own channels. One product with a further axis computes them all; their " +
      "outputs are put side by side, and c_proj mixes them.",
    code:
      "scores = (q @ k.transpose(-2, -1) * scale)  # (H, T, T)\n" +
      'weights = scores.masked_fill(~mask, float("-inf")).softmax(dim=-1)\n' +
      "out = (weights @ v).transpose(0, 1).flatten(1)  # (T, C)",
    view: manyHeads,
  },
];

function weightsTimesValues(weights, T, D, values, look) {
  return productView({
    left: look.weights("Weights", weights),
    right: look.vectors("V, the values", values),
    result: look.vectors("Output", product(weights, values, T, T, D)),
    shapes: `(${T} × ${T}) times (${T} × ${D}) = (${T} × ${D})`,
    start: [look.token, 0],
  });
}

function manyHeads({ T, D }, { text, colors, block, token, width }) {
  const H = text.queries.shape[1];
  const heads = Array.from({ length: H }, (_, head) => headOf(text, block, head));
  const all = Float64Array.from({ length: T * H * D }, (_, i) => {
    const [row, column] = [Math.floor(i / (H * D)), i % (H * D)];
    return heads[Math.floor(column / D)].output[row * D + (column % D)];
  });
  const chosen = { block, head: 0, token };
  const look = lookOf(text, heads[0], colors, chosen, width);
  const pixel = Math.max(2, Math.round((H > 4 ? 60 : 110) / T));
  const maps = heads.map(({ weights }, head) => {
    const data = { ...look.weights(`Head ${head}`, weights), cell: [pixel, pixel], isBare: true };
    return matrix({ ...data, onPoint: (row) => together.mark(row, head * D) });
  });
  const together = matrix({
    ...look.vectors("Outputs of all heads, side by side", all, H * D),
    onPoint: (row, column) =>
      maps.forEach((map, head) => map.mark(head === Math.floor(column / D) ? row : null, null)),
  });
  return create(
    "div",
    {},
    create("p", { class: "shapes" }, `(${H} × ${T} × ${D}) becomes (${T} × ${H * D})`),
    create("div", { class: "small-maps" }, ...maps.map((map) => map.element)),
    together.element,
  );
}

function zeros(T) {
  return masked(new Float64Array(T * T), T);
}

function same(a, b) {
  const difference = largestDifference(a, b);
  return difference === 0
    ? "The numbers are equal."
    : `The numbers are equal up to rounding, ${difference.toExponential(0)} at most.`;
}

function count(number, noun) {
  return number === 1 ? `one ${noun}` : `${number} ${noun}s`;
}
