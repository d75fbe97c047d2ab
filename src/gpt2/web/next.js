// Which token comes next? Probabilities at a position, with temperature and top-k.

import { announce } from "gpt2/announce.js";
import { create, refill, setStyle, tableBehind } from "gpt2/dom.js";
import { part } from "gpt2/packed.js";
import { distribution, ranked } from "gpt2/sampling.js";
import { tokenRow } from "gpt2/tokens.js";
import { percent, predicted, quoted, written } from "gpt2/wording.js";

const BARS = 15;
const STEPS = 1000; // of the slider of top-k, which is logarithmic

/**
 * Show the probabilities of the next token.
 * @param {import("gpt2/inside.js").OpenedText} text
 * @param {(string | null)[]} vocabulary
 * @param {import("gpt2/choice.js").Choice} choice
 */
export function showNext(text, vocabulary, choice) {
  const { first, values } = text.logits;
  let [position, tokens] = [-1, null]; // what is ranked at the position
  const row = tokenRow({
    name: "Position whose next token is shown",
    tokens: text.tokens,
    first,
    onChoose: (token) => choice.set({ token }),
  });
  const temperature = slider("Temperature", { min: 0, max: 2, step: 0.01, value: 1 }, change);
  const topK = slider("Top-k", { min: 0, max: STEPS, step: 1, value: STEPS }, change);
  const bars = Array.from({ length: BARS }, bar);
  const facts = create("p", { class: "next-facts" });
  const heading = create("p");
  const reset = create("button", { onclick: back }, "Temperature 1, all tokens");
  let rows = [];
  const columns = ["token", "id", "logit", "probability"];
  const behind = tableBehind("Likeliest next tokens", () => ({ columns, rows }));

  function back() {
    [temperature.input.value, topK.input.value] = ["1", String(STEPS)];
    change();
  }

  function change() {
    show();
    announce(`Likeliest: ${bars[0].element.textContent}. ${facts.textContent}`);
  }

  function show() {
    const t = Number(temperature.input.value);
    const size = tokens.logits.length;
    const k = fromSlider(Number(topK.input.value), size);
    const { count, mass, bits, probability } = distribution(tokens, t, k);
    temperature.output.textContent = t === 0 ? "0: always the likeliest" : t.toFixed(2);
    topK.output.textContent = k === size ? `all ${k} tokens` : `${k}`;
    temperature.input.setAttribute("aria-valuetext", temperature.output.textContent);
    topK.input.setAttribute("aria-valuetext", topK.output.textContent);
    const share = (i) => (i < count ? probability(i) : null);
    bars.forEach((bar, i) => bar.show(vocabulary, tokens.ids[i], share(i)));
    facts.textContent =
      `${kept(count, size, mass)} Entropy: ${written(Number(bits.toFixed(3)))} bits, as of ` +
      `${written(Number((2 ** bits).toPrecision(3)))} equally likely ${noun(2 ** bits)}.`;
    rows = tokens.ids.map((id, i) => [
      predicted(vocabulary[id], id),
      id,
      written(tokens.logits[i]),
      written(probability(i)),
    ]);
    refill(behind);
  }

  choice.follow(["token"], ({ token }) => {
    const shown = Math.max(first, token);
    row.choose(shown);
    if (shown === position) return;
    position = shown;
    tokens = ranked(part(values, position - first).values, BARS);
    heading.textContent = `After token ${position} ${quoted(text.tokens[position])}:`;
    show();
  });
  const left = `Logits before token ${first} are left out, to keep the page small.`;
  const note = first > 0 ? [create("p", { class: "muted" }, left)] : [];
  return create(
    "div",
    { class: "next" },
    row.element,
    ...note,
    create("div", { class: "sliders" }, temperature.element, topK.element, reset),
    heading,
    create("ol", { class: "bars" }, ...bars.map(({ element }) => element)),
    facts,
    behind,
  );
}

function slider(name, attributes, oninput) {
  const input = create("input", { type: "range", ...attributes, oninput });
  const output = create("output");
  return { input, output, element: create("label", {}, `${name}: `, output, input) };
}

function bar() {
  const text = create("bdi", { class: "bar-token" });
  const fill = create("span", { class: "bar-fill" });
  const share = create("span", { class: "bar-share" });
  const track = create("span", { class: "bar-track" }, fill);
  const element = create("li", {}, text, " ", track, " ", share);
  const show = (vocabulary, id, probability) => {
    element.hidden = id === undefined;
    if (element.hidden) return;
    text.textContent = predicted(vocabulary[id], id);
    share.textContent = probability === null ? "left out" : percent(probability);
    setStyle(fill, { share: probability ?? 0 });
    element.dataset.id = String(id);
  };
  return { element, show };
}

function kept(count, size, mass) {
  if (count === size) return `${count} tokens, all that there are, can come next.`;
  const pronoun = count === 1 ? "it has" : "they have";
  return (
    `${count} ${noun(count)} can come next. Before the others were left out, ${pronoun} ` +
    `${percent(mass)} of all probability at this temperature.`
  );
}

function noun(count) {
  return count === 1 ? "token" : "tokens";
}

/** Return k from 1 to the size of the vocabulary, in even ratios; the end of the slider is all. */
function fromSlider(step, size) {
  return Math.round(size ** (step / STEPS));
}
