// What can be done with one text? Watch it grow, stop it, go on, branch from any of its tokens.

import { announce } from "gpt2/announce.js";
import { AskError, ask } from "gpt2/ask.js";
import { create } from "gpt2/dom.js";
import { alternatives } from "gpt2/playground/alternatives.js";
import { copyButton } from "gpt2/copy.js";
import { allIds, branched, newDraft, newText } from "gpt2/playground/draft.js";
import { receive, reopened, settle, upTo, withTail } from "gpt2/playground/draft.js";
import { flow } from "gpt2/playground/flow.js";
import { streamedRequest, within } from "gpt2/playground/request.js";
import { stopwatch } from "gpt2/playground/stopwatch.js";
import { streamTexts } from "gpt2/playground/streaming.js";
import { counted, ending, fullContext } from "gpt2/playground/words.js";

const MOST_SHOWN = 400; // characters of a prompt that are shown before the text

let sheets = 0; // on the page, so that the ids of their titles differ

/**
 * @typedef {object} Desk what the sheets of a playground share
 * @property {() => import("gpt2/playground/request.js").Settings} settings
 * @property {(sheet: any, isWriting: boolean) => void} onWriting
 * @property {(sheet: any, key: string, problem: string) => void} onEnd `key`: under which the text
 *   is kept
 * @property {(text: string) => void} onEdit
 * @property {(text: string) => void} [showInside] where the page has a look inside a text
 */

/**
 * Return a sheet: a text that is to be written.
 * @param {object} data
 * @param {string} data.title
 * @param {{name: string, most_tokens: number}} data.model
 * @param {(string | null)[]} data.vocabulary of the model
 * @param {string} data.prompt
 * @param {number[]} data.promptIds
 * @param {Desk} data.desk
 */
export function sheet({ title, model, vocabulary, prompt, promptIds, desk }) {
  let draft = newDraft(prompt, promptIds);
  let leave = null; // stops listening to the server; null if nothing is written
  let lineage = newLineage(); // by which what is kept of the text is replaced
  let turns = 0; // of those who want to write here, the last one may
  const before = []; // drafts that branches and new attempts have replaced
  const watch = stopwatch();
  const facts = create("p", { class: "sheet-facts muted" });
  const trouble = create("p", { class: "trouble", hidden: true });
  const tail = create("span");
  const frame = create("div", { class: "sheet-paper" });
  const heading = create("h3", { id: `sheet-${sheets++}` }, title);
  const text = flow({ name: `Tokens of ${title}`, vocabulary, onPoint, onOpen });
  const other = alternatives({
    frame,
    vocabulary,
    onChoose: branch,
    onClose: () => text.element.focus(),
  });
  const actions = {
    goOn: create("button", { onclick: goOn }, "Go on"),
    again: create("button", { onclick: again }, "Again"),
    back: create("button", { onclick: back, hidden: true }, "Back"),
    edit: create("button", { onclick: () => desk.onEdit(whole()) }, "Edit"),
    copy: copyButton(whole),
    ...(desk.showInside && { inside: create("button", { onclick: look }, "Look inside") }),
  };
  const labels = {
    goOn: `Go on with ${title}`,
    again: `Write ${title} again`,
    back: `${title} as it was before`,
    edit: `Edit ${title}`,
    copy: `Copy ${title}`,
    inside: `Look inside ${title}`,
  };
  for (const [key, button] of Object.entries(actions)) {
    button.setAttribute("aria-label", labels[key]);
  }
  frame.append(
    create("div", { class: "sheet-text", dir: "auto" }, shortened(prompt), text.element, tail),
    other.element,
  );
  const element = create(
    "article",
    { class: "sheet", "aria-labelledby": heading.id },
    heading,
    frame,
    trouble,
    facts,
    create("div", { class: "sheet-actions" }, ...Object.values(actions)),
  );
  const stream = { begin, receive: take, end, stop };
  const self = { element, title, model, ...stream, refuse, draft: () => draft };

  function whole() {
    return prompt + newText(draft);
  }

  function look() {
    desk.showInside(whole());
  }

  function onPoint(i) {
    if (other.isPinned()) return;
    if (i === null) return other.hide();
    other.show(draft.tokens[i], i, text.spanOf(i), false);
  }

  function onOpen(i) {
    const canChoose = draft.tokens[i].likeliest.length > 0;
    other.show(draft.tokens[i], i, text.spanOf(i), canChoose);
    if (canChoose) other.focus();
  }

  function begin(stopListening) {
    leave = stopListening;
    watch.start();
    showTrouble("");
    showState();
    desk.onWriting(self, true);
  }

  function take(choice) {
    const count = draft.tokens.length;
    receive(draft, choice);
    watch.count(draft.tokens.length - count);
    text.update();
    facts.textContent = watch.facts();
  }

  async function end(problem) {
    leave = null;
    await settled();
    const message = problem ?? (isFull() ? fullContext(model.most_tokens) : "");
    showTrouble(message);
    const why = isFull() ? "the context is full" : ending(draft.reason);
    facts.textContent = [watch.facts(), why].filter(Boolean).join("; ");
    showState();
    desk.onWriting(self, false);
    desk.onEnd(self, lineage, message);
  }

  async function settled() {
    const ended = draft;
    const tokens = ended.tokens.map(({ id }) => id);
    if (!tokens.length) return;
    const answer = await ask("/detokenize", { model: model.name, tokens }).catch(() => null);
    if (!answer || draft !== ended) return;
    settle(draft, answer.prompt);
    tail.textContent = draft.tail;
    text.show(draft, draft.tokens.length);
  }

  async function stop() {
    if (!leave) return;
    leave();
    draft.reason = "stopped";
    await end(null);
  }

  function isFull() {
    return allIds(draft).length >= model.most_tokens;
  }

  function showTrouble(message) {
    trouble.textContent = message;
    trouble.hidden = !message;
  }

  /** Say why nothing is written. */
  function refuse(message) {
    showTrouble(message);
    announce(`${title}: ${message}`);
  }

  function showState() {
    const isWriting = leave !== null;
    text.element.setAttribute("aria-busy", String(isWriting));
    element.classList.toggle("writing", isWriting);
    for (const button of [actions.goOn, actions.again]) {
      button.setAttribute("aria-disabled", isWriting); // disabled, it would lose the focus
    }
    actions.back.hidden = isWriting || !before.length;
  }

  /**
   * Write on from the draft that `prepare` returns; what is written meanwhile is stopped. Where it
   * takes the place of other tokens, these can be had back.
   */
  async function write(prepare, replaces) {
    const turn = ++turns;
    await stop();
    const next = await prepare().catch((error) => refuse(messageOf(error)));
    if (!next || turn !== turns) return;
    if (replaces && draft.tokens.length) {
      before.push(draft);
      lineage = newLineage();
    }
    show(next);
    const ids = allIds(draft);
    const room = model.most_tokens - ids.length;
    if (room < 1) return refuse(fullContext(model.most_tokens));
    const settings = { ...desk.settings(), n: 1 };
    await streamTexts([self], streamedRequest(model.name, ids, within(settings, room)));
  }

  function show(next) {
    const isSame = (token, i) => token.id === next.tokens[i]?.id;
    const changed = draft.tokens.findIndex((token, i) => !isSame(token, i));
    const kept = changed < 0 ? draft.tokens.length : changed;
    draft = next;
    other.hide();
    tail.textContent = draft.tail;
    text.show(draft, kept);
    showState();
  }

  function goOn() {
    if (leave) return;
    return write(async () => {
      if (!draft.tail) return reopened(draft);
      const { tokens } = await ask("/tokenize", { model: model.name, prompt: draft.tail });
      return withTail(draft, tokens);
    }, false);
  }

  function again() {
    if (leave) return;
    return write(async () => upTo(draft, 0), true);
  }

  function branch(i, id) {
    text.element.focus();
    return write(async () => {
      const tokens = [...draft.tokens.slice(0, i).map((token) => token.id), id];
      const { prompt: whole } = await ask("/detokenize", { model: model.name, tokens });
      return branched(draft, i, id, whole);
    }, true);
  }

  function back() {
    lineage = newLineage();
    show(before.pop());
    facts.textContent = counted(draft.tokens.length, "token");
    (actions.back.hidden ? actions.goOn : actions.back).focus();
  }

  text.show(draft, 0);
  showState();
  return self;
}

function messageOf(error) {
  if (error instanceof AskError) return error.message;
  throw error;
}

function newLineage() {
  return `${Date.now()}-${Math.random().toString(36).slice(2)}`;
}

function shortened(prompt) {
  const characters = [...prompt];
  const isLong = characters.length > MOST_SHOWN;
  const shown = isLong ? `… ${characters.slice(-MOST_SHOWN).join("")}` : prompt;
  return create("span", { class: "given" }, shown);
}
