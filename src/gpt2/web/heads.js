// Where does each head look? All heads as small maps; one of them large, token by token.

import { create, setStyle, tableBehind } from "gpt2/dom.js";
import { grid } from "gpt2/grid.js";
import { colorScale, matrix, paint } from "gpt2/matrix.js";
import { part } from "gpt2/packed.js";
import { tokenRow } from "gpt2/tokens.js";
import { quoted, written } from "gpt2/wording.js";

const MOST_NAMED = 3; // tokens that are named in a sentence
export const SCALE_END = "1: all attention on one token; the middle is 0.25";

/**
 * Show the attention of all heads, and of the chosen one.
 * @param {import("gpt2/inside.js").OpenedText} text
 * @param {string[]} colors of attention weights, 0 first
 * @param {import("gpt2/choice.js").Choice} choice
 */
export function showHeads(text, colors, choice) {
  return create(
    "div",
    { class: "side-by-side" },
    allHeads(text, colors, choice),
    oneHead(text, colors, choice),
  );
}

/**
 * Return the block and head that look most at the token before: what heads do is plain there.
 * @param {import("gpt2/inside.js").OpenedText} text
 */
export function clearestHead(text) {
  const [L, H] = text.weights.shape;
  let best = { weight: 0, place: [0, 0] };
  for (let block = 0; block < L; block++) {
    for (let head = 0; head < H; head++) {
      const weight = meanWeights(text, block, head)[1];
      if (weight > best.weight) best = { weight, place: [block, head] };
    }
  }
  return best.place;
}

function allHeads(text, colors, choice) {
  const [L, H, T] = text.weights.shape;
  const gap = Math.max(1, Math.round(T / 8));
  const pixel = Math.max(1, Math.min(24, Math.round(sideOf(H) / T))); // a cell of a small map
  const maps = grid({
    name: "All heads, a row a block",
    rows: L,
    columns: H,
    cell: [(T + gap) * pixel, (T + gap) * pixel],
    rowLabels: numbers(L),
    columnLabels: numbers(H),
    describe: (block, head) => `block ${block}, head ${head}: ${habit(text, block, head)}`,
    onChoose: (block, head) => choice.set({ block, head }),
  });
  [maps.canvas.width, maps.canvas.height] = [H * (T + gap), L * (T + gap)];
  for (let block = 0; block < L; block++) {
    for (let head = 0; head < H; head++) {
      const values = past(text, block, head);
      const data = { rows: T, columns: T, values, colors, low: 0, high: 1, isRoot: true };
      const [x, y] = [head, block].map((place) => place * (T + gap) + (gap >> 1));
      paint(maps.canvas, data, x, y);
    }
  }
  const frame = create("div", { class: "chosen-frame" });
  maps.canvas.after(frame);
  choice.follow(["block", "head"], ({ block, head }) => {
    setStyle(frame, { row: block, column: head });
    maps.mark(block, head);
  });
  return create(
    "figure",
    { class: "matrix all-heads" },
    create("figcaption", {}, "All heads: a row a block, a column a head"),
    create("div", { class: "scroll" }, maps.element),
    maps.readout,
    colorScale(colors, "0", SCALE_END),
    tableBehind("Where each head looks, on average over the tokens", () => habits(text)),
  );
}

function oneHead(text, colors, choice) {
  const T = text.tokens.length;
  let isFromMap = false; // then the map has marked the cell already
  const map = matrix({
    title: "Attention weights of the chosen head",
    rows: T,
    columns: T,
    values: new Float32Array(T * T),
    colors,
    low: 0,
    high: 1,
    isRoot: true,
    cell: [largeCell(T), largeCell(T)],
    rowName: "query",
    columnName: "key",
    rowLabels: text.tokens,
    columnLabels: text.tokens,
    blank: "in the future, hidden by the causal mask",
    onPoint: (pointed) => {
      isFromMap = true;
      choice.set({ pointed });
      isFromMap = false;
    },
  });
  const row = tokenRow({
    name: "Token whose attention is shown",
    tokens: text.tokens,
    onChoose: (token) => choice.set({ token }),
    onPoint: (pointed) => choice.set({ pointed }),
  });
  row.element.classList.add("attended");
  map.element.addEventListener("pointerleave", () => choice.set({ pointed: null }));
  const looks = create("p", { class: "looks" });
  const seen = create("p", { class: "seen" });

  choice.follow(["block", "head"], ({ block, head }) =>
    map.show({ title: `Block ${block}, head ${head}`, values: past(text, block, head) }),
  );
  choice.follow(["token"], ({ token }) => row.choose(token));
  choice.follow(["block", "head", "token", "pointed"], ({ block, head, token, pointed }) => {
    const at = pointed ?? token;
    const { values } = part(text.weights, block, head);
    const [from, to] = [[], []];
    row.buttons.forEach((button, i) => {
      from.push(i <= at ? values[at * T + i] : 0);
      to.push(i >= at ? values[i * T + at] : 0);
      setStyle(button, { looks: from[i], seen: to[i] });
      button.classList.toggle("pointed", i === at);
    });
    const name = quoted(text.tokens[at]);
    looks.textContent = `${name} looks at ${listed(text.tokens, from)}`;
    seen.textContent = `${name} is looked at by ${listed(text.tokens, to)}`;
    if (!isFromMap) map.mark(at, at);
  });
  return create("div", { class: "one-head" }, map.element, row.element, looks, seen);
}

/** Return the weights of a head as (T, T), with NaN in place of what the mask hides. */
function past(text, block, head) {
  const { shape, values } = part(text.weights, block, head);
  const T = shape[0];
  return values.map((weight, i) => (i % T > Math.floor(i / T) ? NaN : weight));
}

function listed(tokens, weights) {
  const order = [...weights.keys()].filter((i) => weights[i] >= 0.005);
  order.sort((a, b) => weights[b] - weights[a]);
  const named = (i) => `${quoted(tokens[i])} ${weights[i].toFixed(2)}`;
  return order.slice(0, MOST_NAMED).map(named).join(", ") || "no token much";
}

/** Return the mean weight on the token itself, the one before, and the first, over all tokens. */
function meanWeights(text, block, head) {
  const { shape, values } = part(text.weights, block, head);
  const T = shape[0];
  const mean = (least, column) => {
    let sum = 0;
    for (let row = least; row < T; row++) sum += values[row * T + column(row)];
    return T > least ? sum / (T - least) : NaN;
  };
  return [mean(1, (row) => row), mean(1, (row) => row - 1), mean(2, () => 0)];
}

function habit(text, block, head) {
  const means = meanWeights(text, block, head);
  const names = ["on the token itself", "on the one before", "on the first"];
  const parts = means.flatMap((mean, i) => (mean >= 0 ? [`${mean.toFixed(2)} ${names[i]}`] : []));
  return parts.length ? `on average ${parts.join(", ")}` : "one token, which looks at itself";
}

function habits(text) {
  const [L, H] = text.weights.shape;
  const rows = numbers(L).flatMap((block) =>
    numbers(H).map((head) => [
      `block ${block}, head ${head}`,
      ...meanWeights(text, Number(block), Number(head)).map(written),
    ]),
  );
  return { columns: ["head", "itself", "the one before", "the first"], rows };
}

function sideOf(heads) {
  return heads <= 4 ? 96 : heads <= 8 ? 64 : heads <= 12 ? 40 : 32;
}

function largeCell(T) {
  return Math.max(11, Math.min(28, Math.floor(Math.min(440, window.innerWidth - 110) / T)));
}

function numbers(count) {
  return Array.from({ length: count }, (_, i) => String(i));
}
