// How does one head compute its output? As matrix products with true values, step by step.

import { announce } from "gpt2/announce.js";
import { create } from "gpt2/dom.js";
import { productView, stepView } from "gpt2/equations.js";
import { written } from "gpt2/matrix.js";
import { headOf, limitOf } from "gpt2/products.js";

const BESIDE = 110; // pixels for labels and gaps
const HIDDEN = "-∞: in the future, hidden by the causal mask";

/**
 * Show the chosen head's attention in five steps.
 * @param {import("gpt2/inside.js").OpenedText} text
 * @param {import("gpt2/inside.js").Colors} colors
 * @param {import("gpt2/choice.js").Choice} choice
 */
export function showSteps(text, colors, choice) {
  return stepper("Steps of the head", HEAD_STEPS, text, colors, choice);
}

/**
 * @typedef {object} Step
 * @property {string} name on its button
 * @property {(head: Head, look: Look) => string} text
 * @property {string} [code] the same in Python
 * @property {(head: Head, look: Look) => Node} view
 * @typedef {ReturnType<typeof headOf>} Head
 * @typedef {ReturnType<typeof lookOf>} Look
 */

/**
 * Show steps, one at a time, of the chosen head.
 * @param {string} name
 * @param {Step[]} steps
 * @param {import("gpt2/inside.js").OpenedText} text
 * @param {import("gpt2/inside.js").Colors} colors
 * @param {import("gpt2/choice.js").Choice} choice
 */
export function stepper(name, steps, text, colors, choice) {
  let current = 0;
  const go = (step) => {
    if (step < 0 || step >= steps.length) return;
    current = step;
    show();
    announce(`Step ${step + 1} of ${steps.length}: ${steps[step].name}`);
  };
  const buttons = steps.map((step, i) =>
    create("button", { onclick: () => go(i) }, `${i + 1}. ${step.name}`),
  );
  const back = create("button", { onclick: () => go(current - 1) }, "Back");
  const next = create("button", { onclick: () => go(current + 1) }, "Next step");
  const content = create("div", { class: "step" });
  const bar = create("div", { class: "step-bar", role: "group", "aria-label": name }, ...buttons);
  bar.addEventListener("keydown", (event) => {
    const to = { ArrowLeft: current - 1, ArrowRight: current + 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    go(to);
    buttons[current].focus();
  });

  function show() {
    const { block, head } = choice.chosen;
    const step = steps[current];
    const numbers = headOf(text, block, head);
    const look = lookOf(text, numbers, colors, choice.chosen, content.clientWidth);
    buttons.forEach((button, i) => button.setAttribute("aria-current", i === current && "step"));
    back.disabled = current === 0;
    next.disabled = current === steps.length - 1;
    content.replaceChildren(
      create("p", {}, step.text(numbers, look)),
      ...(step.code ? [create("pre", {}, create("code", {}, step.code))] : []),
      step.view(numbers, look),
    );
  }

  choice.follow(["block", "head", "token"], whenSeen(content, show));
  const picker = headPicker(text, choice);
  return create("div", { class: "stepper" }, picker, bar, content, create("p", {}, back, " ", next));
}

function headPicker(text, choice) {
  const [L, H] = text.weights.shape;
  const pick = (name, count) => {
    const options = Array.from({ length: count }, (_, i) => create("option", { value: i }, `${i}`));
    const change = () => choice.set({ [name]: Number(select.value) });
    const select = create("select", { onchange: change }, ...options);
    choice.follow([name], (chosen) => (select.value = String(chosen[name])));
    return create("label", {}, name === "block" ? "Block " : "Head ", select);
  };
  return create("p", { class: "picker" }, pick("block", L), " ", pick("head", H));
}

/** Return a function that calls `show` now if the element is near the screen, or else later. */
function whenSeen(element, show) {
  let isStale = false;
  let isSeen = false;
  new IntersectionObserver(
    (entries) => {
      isSeen = entries.at(-1).isIntersecting;
      if (isSeen && isStale) show();
      if (isSeen) isStale = false;
    },
    { rootMargin: "600px" },
  ).observe(element);
  return () => (isSeen ? show() : (isStale = true));
}

/**
 * Return how the matrices of a head are drawn, by what their axes are.
 * @param {import("gpt2/inside.js").OpenedText} text
 * @param {ReturnType<typeof headOf>} head
 * @param {import("gpt2/inside.js").Colors} colors
 * @param {import("gpt2/choice.js").Chosen} chosen
 * @param {number} width pixels that there are
 */
export function lookOf(text, { T, D }, colors, { block, head, token }, width) {
  const [perChannel, perToken] = cellOf(T, D, width - BESIDE);
  const tokens = { rowName: "token", rowLabels: text.tokens };
  const signed = (values) => {
    const limit = limitOf(values);
    return { values, colors: colors.signed, low: -limit, high: limit };
  };
  const byTokens = { rows: T, columns: T, cell: [perToken, perToken], columnName: "token" };
  return {
    block,
    head,
    token,
    text,
    colors,
    width,
    vectors: (title, values, columns = D) => ({
      ...{ title, symbol: title[0], rows: T, columns, columnName: "channel" },
      ...{ ...tokens, ...signed(values), cell: [columns > D ? 1 : perChannel, perToken] },
    }),
    vectorsAcross: (title, values) => ({
      ...{ title, symbol: title[0], rows: D, columns: T, rowName: "channel" },
      ...{ columnName: "token", columnLabels: text.tokens, ...signed(values) },
      cell: [perToken, perChannel],
    }),
    scores: (title, values) => ({
      ...{ title, symbol: "scores", ...byTokens, ...tokens, columnLabels: text.tokens },
      ...{ ...signed(values), blank: HIDDEN },
    }),
    weights: (title, values) => ({
      ...{ title, symbol: "weights", ...byTokens, ...tokens, columnLabels: text.tokens },
      ...{ values: blankFuture(values, T), colors: colors.attention, low: 0, high: 1 },
      blank: "0: in the future, hidden by the causal mask",
    }),
  };
}

/** Return the pixels of a channel and of a token, so that both axes fit beside each other. */
function cellOf(T, D, width) {
  const perToken = Math.max(4, Math.min(17, Math.floor(width / 2 / T)));
  const left = Math.floor((2 * (width - perToken * T)) / D) / 2;
  return [Math.max(1, Math.min(D <= 24 ? 12 : 5, left)), perToken];
}

function blankFuture(weights, T) {
  return weights.map((weight, i) => (i % T > Math.floor(i / T) ? NaN : weight));
}

/** @type {Step[]} */
const HEAD_STEPS = [
  {
    name: "Q times Kᵀ",
    text: ({ D }) =>
      "Each token has a query, what it looks for, and a key, what it offers: rows of Q and columns " +
      `of Kᵀ, of ${D} channels each. Their dot product is the score of a pair of tokens. Point at a ` +
      "cell, or move through the cells with arrow keys.",
    code: "scores = q @ k.T",
    view: ({ T, D, queries, keysTransposed, scores }, look) =>
      productView({
        left: look.vectors("Q, the queries", queries),
        right: look.vectorsAcross("Kᵀ, the keys", keysTransposed),
        result: look.scores("Scores", scores),
        shapes: `(${T} × ${D}) times (${D} × ${T}) = (${T} × ${T})`,
        start: [look.token, Math.min(look.token, T - 1)],
      }),
  },
  {
    name: "Scale",
    text: ({ D, scale }) =>
      `Sums of ${D} products are large, and softmax of large numbers puts all on one token. So each ` +
      `score is multiplied by ${written(scale)}` +
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
        start: [look.token, Math.min(look.token + 1, T - 1)],
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
        left: { ...look.weights("Attention weights", weights), values: weights },
        right: look.vectors("V, the values", values),
        result: { ...look.vectors("Output", output), symbol: "output" },
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
