// What does the model compute for a text? Its tokens, heads, steps, lens and next tokens.

import { createChoice } from "gpt2/choice.js";
import { create, setStyle } from "gpt2/dom.js";
import { clearestHead, showHeads } from "gpt2/heads.js";
import { showLens } from "gpt2/lens.js";
import { showLesson } from "gpt2/lesson.js";
import { colorScale } from "gpt2/matrix.js";
import { showNext } from "gpt2/next.js";
import { unpack } from "gpt2/packed.js";
import { showSteps } from "gpt2/steps.js";
import { showStream } from "gpt2/stream.js";
import { surprisalRow } from "gpt2/tokens.js";
import { visible } from "gpt2/wording.js";

/**
 * @typedef {import("gpt2/packed.js").Unpacked} Unpacked
 * @typedef {{attention: string[], probability: string[], signed: string[], surprisal: string[],
 *   series: string[]}} Colors lists of "#rrggbb", of the lowest value first
 * @typedef {object} OpenedText what visual/gallery/inside.py makes of a text, its arrays unpacked
 * @property {string} text
 * @property {number} length of the whole text, in tokens
 * @property {number} first position in it of the first token that is shown
 * @property {number[]} ids
 * @property {string[]} tokens
 * @property {(number | null)[]} bits
 * @property {number[]} scales
 * @property {Unpacked} queries
 * @property {Unpacked} keys
 * @property {Unpacked} values
 * @property {Unpacked} weights
 * @property {Unpacked} stream hidden states: (L + 2, T, C)
 * @property {string[]} layers names of the states of the stream, but the last
 * @property {{ids: Unpacked, probabilities: Unpacked} | null} lens null until it is there
 * @property {{first: number, values: Unpacked}} logits
 * @property {{queries: string, logits: string}} stored types of the numbers in the page
 */

/**
 * Fill a section with what the model computes for the texts of the page, one at a time.
 * @param {HTMLElement} section
 * @param {{texts: string[], vocabulary: (string | null)[], colors: Colors}} page
 * @param {(index: number) => object} readText what visual/gallery/inside.py has made of a text
 */
export function showTexts(section, page, readText) {
  const content = create("div");
  const buttons = page.texts.map((title, i) =>
    create("button", { onclick: () => show(i) }, title.trim() || JSON.stringify(title)),
  );

  function show(index) {
    buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(i === index)));
    const text = opened(readText(index));
    const choice = createChoice(startOf(text));
    content.replaceChildren(...PARTS.map((part) => partOf(part, text, page, choice)));
  }

  if (buttons.length > 1) {
    const group = { class: "text-chooser", role: "group", "aria-label": "Text" };
    section.append(create("div", group, ...buttons));
  }
  section.append(content);
  setColors(section, page.colors);
  show(0);
}

/**
 * Give a section the colors of its bars.
 * @param {HTMLElement} section
 * @param {Colors} colors
 */
export function setColors(section, { series }) {
  setStyle(section, { "looks-color": series[0], "seen-color": series[1] });
}

/**
 * Unpack the arrays of a text.
 * @param {any} raw as visual/gallery/inside.py makes it
 * @returns {OpenedText}
 */
export function opened(raw) {
  const { lens = null, logits } = raw;
  const names = ["queries", "keys", "values", "weights", "stream"];
  const arrays = Object.fromEntries(names.map((name) => [name, unpack(raw[name])]));
  return {
    ...raw,
    stored: { queries: raw.queries.type, logits: logits.values.type },
    ...arrays,
    tokens: raw.tokens.map(visible),
    lens: lens && openedLens(lens),
    logits: { ...logits, values: unpack(logits.values) },
  };
}

/**
 * Unpack the arrays of a lens.
 * @param {any} raw
 * @returns {OpenedText["lens"]}
 */
export function openedLens({ ids, probabilities }) {
  return { ids: unpack(ids), probabilities: unpack(probabilities) };
}

/**
 * Return what the reader looks at first in a text: its last token, and the clearest head.
 * @param {OpenedText} text
 * @returns {import("gpt2/choice.js").Chosen}
 */
export function startOf(text) {
  const [block, head] = clearestHead(text);
  return { token: text.tokens.length - 1, block, head, pointed: null };
}

/**
 * @typedef {{vocabulary: (string | null)[], colors: Colors, onAppend?: (id: number) => void}} Page
 * @typedef {object} Part of what there is to see of a text
 * @property {string} title
 * @property {string} explanation
 * @property {(text: OpenedText, page: Page, choice: import("gpt2/choice.js").Choice) => Node[]}
 *   content
 * @property {boolean} [needsLens] whether it shows the lens
 */

/** @type {Part[]} */
export const PARTS = [
  {
    title: "Tokens",
    explanation:
      "The text as the model reads it, each token with its id. The darker, the more surprising " +
      "the token is to the model, given those before it. Choose one: what is below follows it. " +
      "How a text becomes tokens: docs/tokenizer.md.",
    content: (text, { vocabulary, colors }, choice) => {
      const highest = Math.log2(vocabulary.length); // bits, where all tokens are equally likely
      const end = `${highest.toFixed(1)}: as of equally likely tokens`;
      return [
        surprisalRow(text, colors.surprisal, highest, choice),
        colorScale(colors.surprisal, "0 bits", end),
      ];
    },
  },
  {
    title: "Attention",
    explanation:
      "Each small map is a head: a row for the token that looks, a column for the token it looks " +
      "at, the lighter the more. The future is blank. Choose a map to see it large, then point " +
      "at a token below it: blue bars are where it looks, orange ones what looks at it.",
    content: (text, { colors }, choice) => [showHeads(text, colors.attention, choice)],
  },
  {
    title: "One head, step by step",
    explanation: "The chosen head's attention as matrix products, with its true values.",
    content: (text, { colors }, choice) => [showSteps(text, colors, choice)],
  },
  {
    title: "Attention as matrix multiplication",
    explanation:
      "How one comes from a loop to the products above, with the values of the chosen head. The " +
      "lesson to it is docs/attention-as-matrix-multiplication.md.",
    content: (text, { colors }, choice) => [showLesson(text, colors, choice)],
  },
  {
    title: "Residual stream",
    explanation:
      "The vector of each token, a row of channels, to which attention and MLP of every block add. " +
      "The head reads the last of them.",
    content: (text, { colors }, choice) => [showStream(text, colors.signed, choice)],
  },
  {
    title: "Logit lens",
    needsLens: true,
    explanation:
      "If the model ended after each block, which token would come next? Each cell shows the " +
      "likeliest, the darker the likelier.",
    content: (text, { vocabulary, colors }, choice) => [
      showLens(text, vocabulary, colors.probability, choice),
    ],
  },
  {
    title: "The next token",
    explanation:
      "Temperature divides the logits: low ones favor the likeliest tokens. Top-k keeps the k " +
      "likeliest alone. How a text grows from this: docs/gpt2-in-action.md.",
    content: (text, { vocabulary, onAppend }, choice) => [
      showNext(text, vocabulary, choice, onAppend),
      create("p", { class: "muted" }, precision(text)),
    ],
  },
];

function precision({ stored }) {
  return (
    `The page holds queries and keys in ${stored.queries}, logits in ${stored.logits}, and ` +
    "values, weights, hidden states and the lens in float16, which keeps 3 digits. Products are " +
    "computed here, in float64."
  );
}

function partOf({ title, explanation, content }, text, page, choice) {
  const isCut = title === PARTS[0].title && text.length > text.tokens.length;
  const cut = ` These are the first ${text.tokens.length} of ${text.length} tokens.`;
  return create(
    "section",
    { class: "inside-part" },
    create("h3", {}, title),
    create("p", {}, explanation + (isCut ? cut : "")),
    ...content(text, page, choice),
  );
}
