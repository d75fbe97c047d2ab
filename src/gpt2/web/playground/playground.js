// What can a reader do with a model? Have it continue a text, and see what else it could have said.

import { announce } from "gpt2/announce.js";
import { AskError } from "gpt2/ask.js";
import { create, setStyle } from "gpt2/dom.js";
import { newText } from "gpt2/playground/draft.js";
import { elsewhere } from "gpt2/playground/elsewhere.js";
import { promptField } from "gpt2/playground/prompt.js";
import { requestOf, streamedRequest } from "gpt2/playground/request.js";
import { run } from "gpt2/playground/runs.js";
import { settings } from "gpt2/playground/settings.js";
import { sheet } from "gpt2/playground/sheet.js";
import { shelf } from "gpt2/playground/shelf.js";
import { ending, fullContext } from "gpt2/playground/words.js";

const MOST_SAMPLES = 4;
const WIDE = "(min-width: 60rem)"; // where the settings have a column of their own

/**
 * @typedef {{name: string, most_tokens: number}} Model
 * @typedef {object} Page
 * @property {Model[]} models that the server has
 * @property {import("gpt2/inside.js").Colors} colors
 * @property {(model: string) => Promise<(string | null)[]>} vocabularyOf
 * @property {boolean} [needsKey] whether the server wants a key
 */

/**
 * Fill a section with the playground.
 * @param {HTMLElement} section
 * @param {Page} page
 */
export function showPlayground(section, { models, colors, vocabularyOf, needsKey = false }) {
  const writing = new Set(); // sheets
  const model = modelChoice("Model", models, changed);
  const beside = modelChoice("Beside it", models, changed, "no other");
  const samples = choiceOf("Texts", Array.from({ length: MOST_SAMPLES }, (_, i) => `${i + 1}`), changed);
  const mostTokens = Math.max(...models.map(({ most_tokens: most }) => most));
  const knobs = settings(mostTokens, changed);
  const prompt = promptField(() => model.value(), changed);
  const kept = shelf((text) => prompt.set(text));
  const programs = elsewhere(request, needsKey);
  const go = create("button", { class: "main-button", onclick: () => (busy() ? stop() : start()) });
  const trouble = create("p", { class: "trouble", hidden: true });
  const sheets = create("div", { class: "sheets" });
  const tinted = create("input", { type: "checkbox", onchange: tint });
  let starting = 0; // a new start takes the place of one that waits for the server

  const desk = {
    settings: () => ({ ...knobs.values(), n: Number(samples.value()) }),
    onWriting(each, isWriting) {
      if (isWriting) writing.add(each);
      else writing.delete(each);
      state();
    },
    onEnd(each, key) {
      const draft = each.draft();
      kept.keep({ key, text: draft.prompt + newText(draft), model: each.model.name, when: Date.now() });
      announce(`${each.title}: ${newText(draft)}. ${ending(draft.reason)}`);
    },
    onEdit: (text) => prompt.set(text),
  };

  function busy() {
    return writing.size > 0;
  }

  function state() {
    go.replaceChildren(busy() ? "Stop" : "Continue", create("kbd", {}, busy() ? "Esc" : "Ctrl ↵"));
  }

  function changed() {
    programs.update();
  }

  function request() {
    const { name, most_tokens: most } = model.value();
    const room = Math.max(1, most - (prompt.count() ?? 0));
    const values = desk.settings();
    return requestOf(name, prompt.text(), { ...values, max_tokens: Math.min(values.max_tokens, room) });
  }

  function tell(message) {
    trouble.textContent = message;
    trouble.hidden = !message;
    if (message) announce(message);
  }

  function tint() {
    section.classList.toggle("tinted", tinted.checked);
  }

  function chosen() {
    const other = beside.value();
    return other && other !== model.value() ? [model.value(), other] : [model.value()];
  }

  /** Continue the text: with each model, as many samples as asked for. */
  async function start() {
    const turn = ++starting;
    tell("");
    stop();
    try {
      const groups = await Promise.all(chosen().map(groupOf));
      if (turn !== starting) return;
      sheets.replaceChildren(...groups.flatMap((group) => group.sheets.map((each) => each.element)));
      for (const group of groups) begin(group);
    } catch (error) {
      if (!(error instanceof AskError)) throw error;
      if (turn === starting) tell(error.message);
    }
  }

  async function groupOf(each) {
    const text = prompt.text();
    const [promptIds, vocabulary] = await Promise.all([
      prompt.ids(each.name),
      vocabularyOf(each.name),
    ]);
    const { n } = desk.settings();
    const isOne = n === 1;
    const prefix = chosen().length > 1 ? each.name : "";
    const group = Array.from({ length: n }, (_, i) => {
      const title = [prefix, isOne && prefix ? "" : `Text ${i + 1}`].filter(Boolean).join(", ");
      return sheet({ title, model: each, vocabulary, prompt: text, promptIds, desk });
    });
    return { model: each, promptIds, sheets: group };
  }

  function begin({ model: each, promptIds, sheets: group }) {
    const room = each.most_tokens - Math.max(1, promptIds.length); // none is <|endoftext|>
    if (room < 1) return group.forEach((one) => one.tell(fullContext(each.most_tokens)));
    const values = desk.settings();
    const settings = { ...values, max_tokens: Math.min(values.max_tokens, room) };
    run(group, streamedRequest(each.name, promptIds, settings));
  }

  function stop() {
    for (const each of [...writing]) each.stop();
  }

  function pressed(event) {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      start();
    } else if (event.key === "Escape" && busy()) {
      stop();
    }
  }

  const aside = create(
    "details",
    { class: "settings", open: matchMedia(WIDE).matches },
    create("summary", {}, "Settings"),
    knobs.element,
  );
  const bar = create(
    "div",
    { class: "playground-bar" },
    go,
    ...(models.length > 1 ? [model.element, beside.element] : []),
    samples.element,
    create("label", { class: "tint-choice" }, tinted, " Tint by surprise"),
  );
  const desktop = create(
    "div",
    { class: "playground-main" },
    prompt.element,
    bar,
    trouble,
    sheets,
    kept.element,
    programs.element,
  );
  const body = create("div", { class: "playground", onkeydown: pressed }, desktop, aside);
  section.append(body);
  setStyle(section, { "looks-color": colors.series[0], "surprise-color": colors.series[1] });
  state();
  prompt.recount();
}

function modelChoice(name, models, onChange, none) {
  const names = models.map((model) => model.name);
  const choice = choiceOf(name, none ? [none, ...names] : names, onChange);
  return { ...choice, value: () => models.find((model) => model.name === choice.value()) };
}

function choiceOf(name, options, onChange) {
  const select = create(
    "select",
    { onchange: onChange },
    ...options.map((option) => create("option", { value: option }, option)),
  );
  return { element: create("label", {}, `${name} `, select), value: () => select.value };
}
