// What can a reader do with a model? Have it continue a text, and see what else it could have said.

import { announce } from "gpt2/announce.js";
import { AskError } from "gpt2/ask.js";
import { create, setStyle } from "gpt2/dom.js";
import { newText } from "gpt2/playground/draft.js";
import { elsewhere } from "gpt2/playground/elsewhere.js";
import { promptField } from "gpt2/playground/prompt.js";
import { remember } from "gpt2/playground/remember.js";
import { requestOf, streamedRequest, within } from "gpt2/playground/request.js";
import { streamTexts } from "gpt2/playground/streaming.js";
import { settings } from "gpt2/playground/settings.js";
import { sheet } from "gpt2/playground/sheet.js";
import { shelf } from "gpt2/playground/shelf.js";
import { ending, fullContext } from "gpt2/playground/words.js";

const ALONE = "no other model";
const MOST_SAMPLES = 4;
const HINT =
  "Point at a token of the new text to see how likely it was, and what else could have come. Click " +
  "it and choose another: the text goes on from there. The probabilities are the model's own, " +
  "before temperature and the other settings.";
const WIDE = "(min-width: 60rem)"; // where the settings have a column of their own

/**
 * @typedef {{name: string, most_tokens: number}} Model
 * @typedef {object} Page
 * @property {Model[]} models that the server has
 * @property {import("gpt2/inside.js").Colors} colors
 * @property {string[]} [examples] beginnings of texts
 * @property {(model: string) => Promise<(string | null)[]>} vocabularyOf
 * @property {boolean} [needsKey] whether the server wants a key
 * @property {(text: string) => void} [showInside] shows what the model computes for a text
 */

/**
 * Fill a section with the playground.
 * @param {HTMLElement} section
 * @param {Page} page
 * @returns {{setModel: (name: string) => void}} which has another of the models write
 */
export function showPlayground(section, page) {
  const { models, colors, examples = [], vocabularyOf, needsKey = false, showInside } = page;
  const writing = new Set(); // sheets
  const unsaid = []; // texts that have ended while others are written
  let model = models[0];
  const beside = choiceOf("Compare with", [ALONE, ...models.map(({ name }) => name)], changed);
  const numbers = Array.from({ length: MOST_SAMPLES }, (_, i) => `${i + 1}`);
  const samples = choiceOf("Samples", numbers, changed);
  const mostTokens = Math.max(...models.map(({ most_tokens: most }) => most));
  const knobs = settings(mostTokens, changed);
  const prompt = promptField(() => model, examples, changed);
  const kept = shelf((text) => prompt.set(text));
  const programs = elsewhere(request, needsKey);
  const go = create("button", { class: "primary main-button", onclick: () => (busy() ? halt() : start()) });
  const trouble = create("p", { class: "trouble", hidden: true });
  const sheets = create("div", { class: "sheets" });
  const tinted = create("input", { type: "checkbox", onchange: tint });
  let starting = 0; // a new start takes the place of one that waits for the server
  let isWaiting = false; // for the server, before the texts begin

  const desk = {
    settings: () => ({ ...knobs.values(), n: Number(samples.value()) }),
    onWriting(each, isWriting) {
      if (isWriting) writing.add(each);
      else writing.delete(each);
      showState();
    },
    onEnd(each, key, problem) {
      const draft = each.draft();
      const [text, end] = [newText(draft), problem || ending(draft.reason)];
      if (draft.tokens.length) {
        kept.keep({ key, text: draft.prompt + text, model: each.model.name, when: Date.now() });
      }
      unsaid.push(`${each.title}: ${text} (${end})`);
      if (!writing.size) announce(unsaid.splice(0).join(" "));
    },
    onEdit: (text) => prompt.set(text),
    showInside,
  };

  function busy() {
    return isWaiting || writing.size > 0;
  }

  function showState() {
    const key = create("kbd", { "aria-hidden": "true" }, busy() ? "Esc" : "Ctrl ↵");
    go.replaceChildren(busy() ? "Stop" : "Continue", key);
    go.setAttribute("aria-keyshortcuts", busy() ? "Escape" : "Control+Enter");
  }

  function changed() {
    programs.update();
  }

  function request() {
    const { name, most_tokens: most } = model;
    const room = Math.max(1, most - (prompt.count() ?? 0));
    return requestOf(name, prompt.text(), within(desk.settings(), room));
  }

  function showTrouble(message) {
    trouble.textContent = message;
    trouble.hidden = !message;
    if (message) announce(message);
  }

  function tint() {
    section.classList.toggle("tinted", tinted.checked);
  }

  function chosen() {
    const other = models.find(({ name }) => name === beside.value());
    return other && other !== model ? [model, other] : [model];
  }

  function setModel(name) {
    model = models.find((each) => each.name === name);
    prompt.recount();
  }

  /** Continue the text: with each model, as many samples as asked for. */
  async function start() {
    const turn = ++starting;
    showTrouble("");
    stop();
    wait(true);
    try {
      const groups = await Promise.all(chosen().map(groupOf));
      if (turn !== starting) return;
      const rows = groups[0].sheets.map((_, i) => groups.map((group) => group.sheets[i]));
      sheets.replaceChildren(...rows.flat().map(({ element }) => element));
      for (const group of groups) begin(group);
      sheets.scrollIntoView({ block: "nearest" });
    } catch (error) {
      if (!(error instanceof AskError)) throw error;
      if (turn === starting) showTrouble(error.message);
    } finally {
      if (turn === starting) wait(false);
    }
  }

  async function groupOf(each) {
    const text = prompt.text();
    const [promptIds, vocabulary] = await Promise.all([
      prompt.ids(each.name),
      vocabularyOf(each.name),
    ]);
    const { n } = desk.settings();
    const of = models.length > 1 ? ` of ${each.name}` : "";
    const group = Array.from({ length: n }, (_, i) => {
      const title = `Text${n > 1 ? ` ${i + 1}` : ""}${of}`;
      return sheet({ title, model: each, vocabulary, prompt: text, promptIds, desk });
    });
    return { model: each, promptIds, sheets: group };
  }

  function begin({ model: each, promptIds, sheets: group }) {
    const room = each.most_tokens - Math.max(1, promptIds.length); // none is <|endoftext|>
    if (room < 1) return group.forEach((one) => one.refuse(fullContext(each.most_tokens)));
    streamTexts(group, streamedRequest(each.name, promptIds, within(desk.settings(), room)));
  }

  function wait(value) {
    isWaiting = value;
    showState();
  }

  function halt() {
    starting++;
    wait(false);
    stop();
  }

  function stop() {
    for (const each of [...writing]) each.stop();
  }

  function pressed(event) {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      start();
    } else if (event.key === "Escape" && busy()) {
      halt();
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
    ...(models.length > 1 ? [beside.element] : []),
    samples.element,
    create("label", { class: "tint-choice" }, tinted, " Tint by surprise"),
  );
  const top = create("div", { class: "playground-part" }, prompt.element, bar, trouble);
  const below = [sheets, create("p", { class: "muted" }, HINT), kept.element, programs.element];
  const texts = create("div", { class: "playground-part" }, ...below);
  const isWide = matchMedia(WIDE).matches; // else a reader would scroll past the texts to them
  const parts = isWide ? [top, texts, aside] : [top, aside, texts];
  const body = create("div", { class: "playground", onkeydown: pressed }, ...parts);
  section.append(body);
  remember(body, "gpt2-form");
  setStyle(section, { "looks-color": colors.series[0], "surprise-color": colors.series[1] });
  showState();
  prompt.recount();
  return { setModel };
}

function choiceOf(name, options, onChange) {
  const select = create(
    "select",
    { onchange: onChange },
    ...options.map((option) => create("option", { value: option }, option)),
  );
  return { element: create("label", {}, `${name} `, select), value: () => select.value };
}
