// How does one head compute its output? As matrix products with true values, step by step.

import { productView, stepView } from "gpt2/equations.js";
import { stepper } from "gpt2/stepper.js";
import { written } from "gpt2/wording.js";

/**
 * Show the chosen head's attention in five steps.
 * @param {import("gpt2/inside.js").OpenedText} text
 * @param {import("gpt2/inside.js").Colors} colors
 * @param {import("gpt2/choice.js").Choice} choice
 */
export function showSteps(text, colors, choice) {
  return stepper("Steps of the head", HEAD_STEPS, text, colors, choice);
}

/** @type {import("gpt2/stepper.js").Step[]} */
const HEAD_STEPS = [
  {
    name: "Q times Kᵀ",
    text: ({ D }) =>
      "Each token has a query, what it looks for, and a key, what it offers: rows of Q and " +
      `columns of Kᵀ, of ${D} channels each. Their dot product is the score of a pair of tokens. ` +
      "Point at a cell, or move through the cells with arrow keys.",
    code: "scores = q @ k.T",
    view: ({ T, D, queries, keysTransposed, scores }, look) =>
      productView({
        left: look.vectors("Q, the queries", queries),
        right: look.vectorsAcross("Kᵀ, the keys", keysTransposed),
        result: look.scores("Scores", scores),
        shapes: `(${T} × ${D}) times (${D} × ${T}) = (${T} × ${T})`,
        start: [look.token, look.token],
      }),
  },
  {
    name: "Scale",
    text: ({ D, scale }) =>
      `Sums of ${D} products are large, and softmax of large numbers puts all on one token. So ` +
      `each score is multiplied by ${written(scale)}` +
      (Math.abs(scale - 1 / Math.sqrt(D)) < 1e-6 ? `, which is 1/√${D}.` : "."),
    code: "scores = scores * scale",
    view: ({ T, scale, scores, scaled }, look) =>
      stepView({
        before: look.scores("Scores", scores),
        after: look.scores("Scaled scores", scaled),
        shapes: `(${T} × ${T}), each cell by itself`,
        start: [look.token, look.token],
        arithmetic: (row, column) =>
          `${written(scores[row * T + column])} · ${written(scale)} = ` +
          written(scaled[row * T + column]),
      }),
  },
  {
    name: "Mask",
    text: () =>
      "A token may not look at those after it: it is to predict them. Their scores become -∞, " +
      "which leaves the lower triangle.",
    code: 'scores = scores.masked_fill(~mask, float("-inf"))',
    view: ({ T, scaled, hidden }, look) =>
      stepView({
        before: look.scores("Scaled scores", scaled),
        after: look.scores("Masked scores", hidden),
        shapes: `(${T} × ${T}), each cell by itself`,
        start: [Math.max(0, Math.min(look.token, T - 2)), Math.min(look.token + 1, T - 1)],
        arithmetic: (row, column) =>
          column > row
            ? `Token ${column} comes after token ${row}: -∞`
            : `Token ${column} does not come after token ${row}: it keeps ` +
              written(hidden[row * T + column]),
      }),
  },
  {
    name: "Softmax",
    text: () =>
      "exp makes each score of a row positive, and -∞ becomes 0. Divided by their sum, they are " +
      "weights that add to 1: how much the token looks at each other.",
    code: "weights = scores.softmax(dim=-1)",
    view: ({ T, hidden, weights }, look) =>
      stepView({
        before: look.scores("Masked scores", hidden),
        after: look.weights("Attention weights", weights),
        shapes: `(${T} × ${T}), each row by itself`,
        start: [look.token, look.token],
        byRow: true,
        arithmetic: (row, column) => softmaxText(hidden, weights, T, row, column),
      }),
  },
  {
    name: "Weights times V",
    text: ({ D }) =>
      "Each token also has a value, what it hands over. The output of a token is the sum of the " +
      `values (${D} channels) of those it looks at, each times its weight.`,
    code: "output = weights @ v",
    view: ({ T, D, weights, values, output }, look) =>
      productView({
        left: look.weights("Attention weights", weights),
        right: look.vectors("V, the values", values),
        result: look.vectors("Output", output),
        shapes: `(${T} × ${T}) times (${T} × ${D}) = (${T} × ${D})`,
        start: [look.token, 0],
      }),
  },
];

function softmaxText(scores, weights, T, row, column) {
  if (column > row) return "exp(-∞) = 0";
  const at = (s) => `exp(${written(scores[row * T + s])})`;
  const all = Array.from({ length: row + 1 }, (_, s) => at(s));
  const sum = all.length <= 4 ? all.join(" + ") : `${all[0]} + … + ${all[row]} (${row + 1} terms)`;
  return `${at(column)} / (${sum}) = ${written(weights[row * T + column])}`;
}
