// How are the matrices of a head drawn? By what their axes are.

import { limitOf } from "gpt2/products.js";

const HIDDEN = "-∞: in the future, hidden by the causal mask";
const NO_WEIGHT = "0: in the future, hidden by the causal mask";

/**
 * Return how the matrices of a head are drawn, by what their axes are.
 * @param {import("gpt2/inside.js").OpenedText} text
 * @param {ReturnType<typeof headOf>} head
 * @param {import("gpt2/inside.js").Colors} colors
 * @param {import("gpt2/choice.js").Chosen} chosen
 * @param {number} width pixels that there are
 */
export function lookOf(text, { T, D }, colors, { block, head, token }, width) {
  const [perChannel, perToken] = cellOf(T, D, width);
  const signed = (values) => {
    const limit = limitOf(values);
    return { values, colors: colors.signed, low: -limit, high: limit };
  };
  const pairs = {
    ...{ rows: T, columns: T, cell: [perToken, perToken] },
    ...{ rowName: "query of token", columnName: "key of token" },
    ...{ rowLabels: text.tokens, columnLabels: text.tokens },
  };
  return {
    block,
    head,
    token,
    text,
    colors,
    width,
    vectors: (title, values, columns = D) => ({
      ...{ title, rows: T, columns, rowName: "token", columnName: "channel" },
      ...{ rowLabels: text.tokens, ...signed(values) },
      cell: [Math.min(perChannel, Math.max(1, Math.floor((width - 130) / columns))), perToken],
    }),
    vectorsAcross: (title, values) => ({
      ...{ title, rows: D, columns: T, rowName: "channel", columnName: "token" },
      ...{ columnLabels: text.tokens, ...signed(values) },
      cell: [perToken, perChannel],
    }),
    scores: (title, values) => ({ title, ...pairs, ...signed(values), blank: HIDDEN }),
    weights: (title, values) => ({
      ...{ title, ...pairs, values: blankFuture(values, T), blank: NO_WEIGHT },
      ...{ colors: colors.attention, low: 0, high: 1, isRoot: true },
    }),
  };
}

/** Return the pixels of a channel and of a token, so that both axes fit beside each other. */
function cellOf(T, D, width) {
  const room = width - (width < 600 ? 40 : 130); // labels and gaps
  const perToken = Math.max(4, Math.min(17, Math.floor(room / 2 / T)));
  const halves = Math.floor((2 * (room - perToken * T)) / D);
  return [Math.max(1, Math.min(D <= 24 ? 12 : 5, halves / 2)), perToken];
}

function blankFuture(weights, T) {
  return weights.map((weight, i) => (i % T > Math.floor(i / T) ? NaN : weight));
}
