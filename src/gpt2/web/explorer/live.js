// What does a model that runs compute for any text? It is asked anew whenever the text changes.

import { announce } from "gpt2/announce.js";
import { ask, whenKeyGiven } from "gpt2/ask.js";
import { createChoice } from "gpt2/choice.js";
import { create } from "gpt2/dom.js";
import { textField } from "gpt2/explorer/field.js";
import { replaceContent } from "gpt2/keep.js";
import { opened, openedLens, PARTS, setColors, startOf } from "gpt2/inside.js";
import { whenSeen } from "gpt2/seen.js";
import { quoted } from "gpt2/wording.js";

const EMPTY = "Type a text: the model needs a token to begin with.";
const PAUSE = 60; // milliseconds after a key, within which there may be another
const PAUSE_BEFORE_LENS = 150; // milliseconds: the lens takes longer than all else
const SLOW = 250; // milliseconds after which the reader is shown that the model is at work

/**
 * @typedef {{text: string | number[], first: number | null, isWalk?: boolean}} Asked a text or its
 *   ids, the first token that is shown, null for the last ones, and whether the reader walks from
 *   token to token
 */

/**
 * Fill a section with a text that can be changed, and what a model computes for it.
 * @param {HTMLElement} section
 * @param {object} data
 * @param {string} data.model its name
 * @param {import("gpt2/inside.js").Colors} data.colors
 * @param {string[]} data.examples texts
 * @param {(model: string) => Promise<(string | null)[]>} data.vocabularyOf
 * @returns {{show: (text: string) => void, setModel: (model: string) => void}}
 */
export function showLive(section, { model, colors, examples, vocabularyOf }) {
  let shown = null; // {model, vocabulary, signal, text, choice}: the newest answer
  let newest = null; // what is asked for last
  let isAsking = false; // until the newest is answered
  let [late, timer] = [new AbortController(), 0];
  let refused = null; // what the server has not answered for want of a key
  const earlier = []; // ids of the text before each token that was appended
  const field = textField(examples, { onText, onFirst, onUndo });
  const parts = PARTS.map((part) => livePart(part, (body) => fill(part, body)));
  const content = create("div", { hidden: true }, ...parts.map(({ element }) => element));

  function onText(text, pause = PAUSE) {
    earlier.length = 0;
    look({ text, first: null }, pause);
  }

  function onFirst(first) {
    look({ text: shown.text.whole, first }, PAUSE);
  }

  function onAppend(token, id) {
    const { whole, first } = shown.text;
    earlier.push(whole);
    look({ text: [...whole.slice(0, first + token + 1), id], first: null, isWalk: true });
  }

  function onUndo() {
    look({ text: earlier.pop(), first: null, isWalk: true });
  }

  function look(asked, pause = 0) {
    clearTimeout(timer);
    timer = setTimeout(() => askFor(asked), pause);
  }

  /** Ask for the newest text until it is answered; of those that come meanwhile, for the last. */
  async function askFor(asked) {
    newest = asked;
    late.abort();
    if (isAsking) return;
    isAsking = true;
    let answered;
    do {
      answered = newest;
      await askOnce(answered);
    } while (answered !== newest);
    isAsking = false;
  }

  async function askOnce(asked) {
    refused = null;
    if (!asked.text.length) return field.fail(EMPTY);
    late = new AbortController();
    const { signal } = late;
    const slow = setTimeout(() => field.wait(), SLOW);
    const body = { model, text: asked.text, first: asked.first };
    try {
      const answer = ask("/explore/inside", body);
      const [raw, vocabulary] = await Promise.all([answer, vocabularyOf(model)]);
      show(opened(raw), { model: body.model, vocabulary, signal }, asked);
    } catch (error) {
      field.fail(error.message);
      if (error.status === 401) refused = asked;
    } finally {
      clearTimeout(slow);
    }
  }

  function show(text, known, asked) {
    const choice = createChoice(startAfter(shown, text, known.model, asked));
    shown = { ...known, text, choice };
    field.show(text, { isWritten: typeof newest.text === "string", canUndo: earlier.length > 0 });
    if (asked.isWalk) announce(`The text ends with ${quoted(text.tokens.at(-1))} now`);
    content.hidden = false;
    for (const part of parts) part.update();
  }

  async function fill(part, body) {
    const { text, vocabulary, choice } = shown;
    body.setAttribute("aria-busy", "true");
    const isThere = !part.needsLens || (await hasLens(shown));
    if (shown.text !== text) return; // the part is filled with a newer text by now, or will be
    body.removeAttribute("aria-busy");
    const page = { vocabulary, colors, onAppend };
    if (isThere) replaceContent(body, () => part.content(text, page, choice));
  }

  /** Return whether a text has its lens, for which the server is asked once the reader pauses. */
  async function hasLens({ text, model: name, signal }) {
    if (text.lens) return true;
    await new Promise((resolve) => setTimeout(resolve, PAUSE_BEFORE_LENS));
    if (signal.aborted) return false;
    try {
      const body = { model: name, text: text.whole, first: text.first };
      text.lens = openedLens(await ask("/explore/lens", body, signal));
    } catch (error) {
      if (!signal.aborted) field.fail(error.message);
    }
    return !signal.aborted && text.lens !== null;
  }

  whenKeyGiven(() => refused && look(refused));
  setColors(section, colors);
  section.append(field.element, content);
  field.set(examples[0]);
  onText(examples[0], 0);
  return {
    show(text) {
      field.set(text);
      onText(text, 0);
    },
    setModel(name) {
      model = name;
      onText(field.text(), 0); // ids mean other tokens in another vocabulary
    },
  };
}

function livePart({ title, explanation }, fill) {
  const body = create("div");
  const heading = [create("h3", {}, title), create("p", {}, explanation)];
  const element = create("section", { class: "inside-part" }, ...heading, body);
  return { element, update: whenSeen(element, () => fill(body)) };
}

/** Return what is chosen in a new text: what was chosen before, where the new one has it. */
function startAfter(before, text, model, { isWalk }) {
  if (before?.model !== model) return startOf(text);
  const { chosen } = before.choice;
  const last = text.tokens.length - 1;
  const followsEnd = isWalk || chosen.token === before.text.tokens.length - 1;
  const moved = before.text.first + chosen.token - text.first;
  const token = followsEnd ? last : Math.max(0, Math.min(last, moved));
  return { ...chosen, token, pointed: null };
}
