// Where does the reader type the text to look into, and what is said of it?

import { create } from "gpt2/dom.js";

/**
 * Return a field for a text.
 * @param {string[]} examples
 * @param {object} listeners
 * @param {(text: string) => void} listeners.onText called whenever the reader changes the text
 * @param {(first: number) => void} listeners.onFirst called with the first token to be shown
 * @param {() => void} listeners.onUndo
 */
export function textField(examples, { onText, onFirst, onUndo }) {
  const area = create("textarea", {
    id: "live-text",
    rows: 2,
    spellcheck: "false",
    autocapitalize: "off",
    autocomplete: "off",
    "aria-describedby": "live-count",
    oninput: changed,
  });
  const count = create("span", { id: "live-count" });
  const work = create("span", { class: "working", hidden: true }, "the model reads it");
  const wrong = create("p", { class: "wrong", role: "alert", hidden: true });
  const name = "First token that is shown";
  const slider = create("input", { type: "range", min: 0, "aria-label": name, oninput: slid });
  const place = create("output");
  const shownPart = create("div", { class: "window", hidden: true }, place, slider);
  const undo = create("button", { onclick: onUndo, hidden: true }, "Undo");
  const line = create("div", { class: "live-line" }, count, work, shownPart, undo);
  const buttons = examples.map((text) => create("button", { onclick: () => take(text) }, text));
  const chooser = { class: "text-chooser", role: "group", "aria-label": "Examples" };
  const label = create("label", { for: area.id, class: "unseen" }, "Text to look into");
  const box = create("div", { class: "live-text" }, label, area, line, wrong);

  function changed() {
    undo.hidden = true;
    onText(area.value);
  }

  function take(text) {
    area.value = text;
    changed();
  }

  function slid() {
    onFirst(Number(slider.value));
  }

  function settle(message = "") {
    work.hidden = true;
    wrong.hidden = !message;
    wrong.textContent = message;
  }

  return {
    element: create("div", { class: "live-field" }, create("div", chooser, ...buttons), box),
    text: () => area.value,
    set: (text) => (area.value = text),
    wait: () => (work.hidden = false),
    fail(message) {
      settle(message);
      count.textContent = ""; // that of the text before
    },
    /**
     * Say how much of a text is shown.
     * @param {import("gpt2/inside.js").OpenedText} text
     * @param {{isWritten: boolean, canUndo: boolean}} state whether the reader has typed it, and so
     *   has it in the field already
     */
    show({ text, length, first, tokens }, { isWritten, canUndo }) {
      settle();
      if (!isWritten && area.value !== text) area.value = text;
      undo.hidden = !canUndo;
      count.textContent = length === 1 ? "1 token" : `${length} tokens`;
      shownPart.hidden = length === tokens.length;
      slider.max = String(length - tokens.length);
      slider.value = String(first);
      const range = `${first} to ${first + tokens.length - 1}`;
      place.textContent = `Tokens ${range} are shown, as if the text began there.`;
      slider.setAttribute("aria-valuetext", range);
    },
  };
}
