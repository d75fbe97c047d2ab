// Which token comes next? Probabilities at a position, with temperature and top-k.

import { announce } from "gpt2/announce.js";
import { create, refill, setStyle, tableBehind } from "gpt2/dom.js";
import { part } from "gpt2/packed.js";
import { numberAt, STEPS } from "gpt2/ratios.js";
import { distribution, drawn, ranked } from "gpt2/sampling.js";
import { tokenRow } from "gpt2/tokens.js";
import { percent, predicted, quoted, written } from "gpt2/wording.js";

const BARS = 15;

/**
 * Show the probabilities of the next token.
 * @param {import("gpt2/inside.js").OpenedText} text
 * @param {(string | null)[]} vocabulary
 * @param {import("gpt2/choice.js").Choice} choice
 * @param {(token: number, id: number) => void} [onAppend] lets the reader choose an id that comes
 *   after a token
 */
export function showNext(text, vocabulary, choice, onAppend) {
  const { first, values } = text.logits;
  let [position, tokens] = [-1, null]; // what is ranked at the position
  const row = tokenRow({
    name: "Position whose next token is shown",
    tokens: text.tokens,
    first,
    onChoose: (token) => choice.set({ token }),
  });
  const { temperature: heat = 1, topK: step = STEPS } = choice.chosen;
  const temperature = slider("Temperature", { min: 0, max: 2, step: 0.01, value: heat }, change);
  const topK = slider("Top-k", { min: 0, max: STEPS, step: 1, value: step }, change);
  const append = onAppend && ((id) => onAppend(position, id));
  const bars = Array.from({ length: BARS }, () => bar(append));
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
    const [temperatureNow, topKNow] = [temperature, topK].map(({ input }) => Number(input.value));
    choice.set({ temperature: temperatureNow, topK: topKNow });
    show();
    announce(`Likeliest: ${bars[0].element.textContent}. ${facts.textContent}`);
  }

  function kept() {
    const size = tokens.logits.length;
    const k = numberAt(Number(topK.input.value), size);
    return { t: Number(temperature.input.value), size, k };
  }

  function draw() {
    const { t, k } = kept();
    append(drawn(part(values, position - first).values, t, k, Math.random()));
  }

  function show() {
    const { t, size, k } = kept();
    const { count, mass, bits, probability } = distribution(tokens, t, k);
    temperature.output.textContent = t === 0 ? "0: always the likeliest" : t.toFixed(2);
    topK.output.textContent = k === size ? `all ${k} tokens` : `${k}`;
    temperature.input.setAttribute("aria-valuetext", temperature.output.textContent);
    topK.input.setAttribute("aria-valuetext", topK.output.textContent);
    const share = (i) => (i < count ? probability(i) : null);
    bars.forEach((bar, i) => bar.show(vocabulary, tokens.ids[i], share(i)));
    facts.textContent =
      `${keptText(count, size, mass)} Entropy: ${written(Number(bits.toFixed(3)))} bits, as of ` +
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
    ...(append ? [walk(() => append(tokens.ids[0]), draw)] : []),
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

function walk(take, draw) {
  return create(
    "p",
    { class: "walk" },
    create("button", { onclick: take }, "Append the likeliest"),
    create("button", { onclick: draw }, "Draw one and append it"),
    create("span", { class: "muted" }, "or choose a token below"),
  );
}

function bar(append) {
  const text = create("bdi", { class: "bar-token" });
  const onclick = () => append(Number(element.dataset.id));
  const name = append ? create("button", { class: "append", onclick }, text) : text;
  const fill = create("span", { class: "bar-fill" });
  const share = create("span", { class: "bar-share" });
  const track = create("span", { class: "bar-track" }, fill);
  const element = create("li", {}, name, " ", track, " ", share);
  const show = (vocabulary, id, probability) => {
    element.hidden = id === undefined;
    if (element.hidden) return;
    text.textContent = predicted(vocabulary[id], id);
    share.textContent = probability === null ? "left out" : percent(probability);
    setStyle(fill, { share: probability ?? 0 });
    element.dataset.id = String(id);
    if (append) name.setAttribute("aria-label", `Append ${quoted(text.textContent)}`);
  };
  return { element, show };
}

function keptText(count, size, mass) {
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
