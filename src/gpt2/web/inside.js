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
 * @typedef {object} OpenedText what visual/inside.py makes of a text, its arrays unpacked
 * @property {string} text
 * @property {number} length of the whole text, in tokens
 * @property {number[]} ids
 * @property {string[]} tokens
 * @property {(number | null)[]} bits
 * @property {number[]} scales
 * @property {Unpacked} queries
 * @property {Unpacked} keys
 * @property {Unpacked} values
 * @property {Unpacked} weights
 * @property {Unpacked} stream hidden states: (L + 2, T, C)
 * @property {{layers: string[], ids: Unpacked, probabilities: Unpacked}} lens
 * @property {{first: number, values: Unpacked}} logits
 * @property {{queries: string, logits: string}} stored types of the numbers in the page
 */

/**
 * Fill a section with what the model computes for the texts of the page, one at a time.
 * @param {HTMLElement} section
 * @param {{texts: string[], vocabulary: (string | null)[], colors: Colors}} page
 * @param {(index: number) => object} readText what visual/inside.py has made of a text
 */
export function showTexts(section, page, readText) {
  const content = create("div");
  const buttons = page.texts.map((title, i) =>
    create("button", { onclick: () => show(i) }, title.trim() || JSON.stringify(title)),
  );

  function show(index) {
    buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(i === index)));
    content.replaceChildren(...parts(opened(readText(index)), page));
  }

  if (buttons.length > 1) {
    const group = { class: "text-chooser", role: "group", "aria-label": "Text" };
    section.append(create("div", group, ...buttons));
  }
  section.append(content);
  setStyle(section, { "looks-color": page.colors.series[0], "seen-color": page.colors.series[1] });
  show(0);
}

/**
 * Unpack the arrays of a text.
 * @param {any} raw
 * @returns {OpenedText}
 */
export function opened(raw) {
  const { lens, logits } = raw;
  const names = ["queries", "keys", "values", "weights", "stream"];
  const arrays = Object.fromEntries(names.map((name) => [name, unpack(raw[name])]));
  return {
    ...raw,
    stored: { queries: raw.queries.type, logits: logits.values.type },
    ...arrays,
    tokens: raw.tokens.map(visible),
    lens: { ...lens, ids: unpack(lens.ids), probabilities: unpack(lens.probabilities) },
    logits: { ...logits, values: unpack(logits.values) },
  };
}

function parts(text, { vocabulary, colors }) {
  const last = text.tokens.length - 1;
  const isCut = text.length > text.tokens.length;
  const [block, head] = clearestHead(text);
  const highest = Math.log2(vocabulary.length); // bits, where all tokens are equally likely
  const choice = createChoice({ token: last, block, head, pointed: null });
  return [
    partOf(
      "Tokens",
      "The text as the model reads it, each token with its id. The darker, the more surprising " +
        "the token is to the model, given those before it. Choose one: what is below follows it." +
        (isCut ? ` These are the first ${text.tokens.length} of ${text.length} tokens.` : ""),
      surprisalRow(text, colors.surprisal, highest, choice),
      colorScale(colors.surprisal, "0 bits", `${highest.toFixed(1)}: as of equally likely tokens`),
    ),
    partOf(
      "Attention",
      "Each small map is a head: a row for the token that looks, a column for the token it looks " +
        "at, the lighter the more. The future is blank. Choose a map to see it large, then point " +
        "at a token below it: blue bars are where it looks, orange ones what looks at it.",
      showHeads(text, colors.attention, choice),
    ),
    partOf(
      "One head, step by step",
      "The chosen head's attention as matrix products, with its true values.",
      showSteps(text, colors, choice),
    ),
    partOf(
      "Attention as matrix multiplication",
      "How one comes from a loop to the products above, with the values of the chosen head.",
      showLesson(text, colors, choice),
    ),
    partOf(
      "Residual stream",
      "The vector of each token, a row of channels, to which attention and MLP of every block add. " +
        "The head reads the last of them.",
      showStream(text, colors.signed, choice),
    ),
    partOf(
      "Logit lens",
      "If the model ended after each block, which token would come next? Each cell shows the " +
        "likeliest, the darker the likelier.",
      showLens(text, vocabulary, colors.probability, choice),
    ),
    partOf(
      "The next token",
      "Temperature divides the logits: low ones favor the likeliest tokens. Top-k keeps the k " +
        "likeliest alone.",
      showNext(text, vocabulary, choice),
      create("p", { class: "muted" }, precision(text)),
    ),
  ];
}

function precision({ stored }) {
  return (
    `The page holds queries and keys in ${stored.queries}, logits in ${stored.logits}, and ` +
    "values, weights, hidden states and the lens in float16, which keeps 3 digits. Products are " +
    "computed here, in float64."
  );
}

function partOf(title, explanation, ...content) {
  return create(
    "section",
    { class: "inside-part" },
    create("h3", {}, title),
    create("p", {}, explanation),
    ...content,
  );
}
