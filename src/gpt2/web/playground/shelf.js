// Which texts does this browser keep? The latest, each of which can be opened again.

import { announce } from "gpt2/announce.js";
import { create } from "gpt2/dom.js";
import { counted } from "gpt2/playground/words.js";

const KEY = "gpt2-texts"; // in the browser's storage
const MOST = 100; // texts
const LONGEST = 90; // characters that are shown of one

/**
 * @typedef {{key: string, text: string, model: string, when: number}} Kept when: milliseconds
 *   since 1970
 */

/**
 * Return the list of the texts that are kept.
 * @param {(text: string) => void} onOpen
 * @returns {{element: HTMLElement, keep: (kept: Kept) => void}} `keep` replaces a text of the same
 *   key
 */
export function shelf(onOpen) {
  let unstored = []; // where the browser refuses to store
  let isStored = true;
  const list = create("ul", { class: "shelf" });
  const note = create("p", { class: "muted" });
  const clear = create("button", { onclick: clearAll });
  const summary = create("summary");
  const element = create("details", {}, summary, note, list, clear);
  element.addEventListener("toggle", show);
  window.addEventListener("storage", (event) => event.key === KEY && show());

  function read() {
    try {
      const texts = JSON.parse(localStorage.getItem(KEY) ?? "[]");
      return isStored && Array.isArray(texts) ? texts.filter(isKept) : unstored;
    } catch {
      return unstored;
    }
  }

  function write(texts) {
    unstored = texts;
    isStored = stored(texts);
    show();
  }

  function keep(kept) {
    write([kept, ...read().filter(({ key }) => key !== kept.key)].slice(0, MOST));
  }

  function remove(key) {
    const at = read().findIndex((kept) => kept.key === key);
    write(read().filter((kept) => kept.key !== key));
    announce("Deleted.");
    const left = list.querySelectorAll(".shelf-delete");
    (left[Math.min(at, left.length - 1)] ?? summary).focus();
  }

  function clearAll() {
    if (!clear.dataset.asked) {
      clear.dataset.asked = "yes";
      clear.textContent = `Delete ${counted(read().length, "text")}: click again`;
      return;
    }
    write([]);
    announce("All texts are deleted.");
    summary.focus();
  }

  function show() {
    const texts = read();
    summary.textContent = `Your texts (${texts.length})`;
    delete clear.dataset.asked;
    clear.textContent = "Delete all";
    clear.hidden = texts.length === 0;
    note.textContent = isStored
      ? "They are kept in this browser alone."
      : "This browser stores nothing: they last until the page is closed.";
    list.replaceChildren(...(element.open ? texts.map(item) : []));
  }

  function item({ key, text, model, when }) {
    const name = beginningOf(text);
    return create(
      "li",
      {},
      create(
        "button",
        { class: "shelf-open", onclick: () => onOpen(text) },
        create("bdi", {}, name),
        create("small", { class: "muted" }, `${model}, ${new Date(when).toLocaleString()}`),
      ),
      create(
        "button",
        { class: "round shelf-delete", "aria-label": `Delete ${name}`, onclick: () => remove(key) },
        "×",
      ),
    );
  }

  show();
  return { element, keep };
}

/** Store the texts, the oldest of which are dropped until there is room; return whether it was. */
function stored(texts) {
  for (let count = texts.length; count >= 0; count = count ? Math.floor(count / 2) : -1) {
    try {
      localStorage.setItem(KEY, JSON.stringify(texts.slice(0, count)));
      return count > 0 || texts.length === 0;
    } catch {
      continue; // it is full, or refused
    }
  }
  return false;
}

function isKept(kept) {
  return typeof kept?.text === "string" && typeof kept.key === "string";
}

function beginningOf(text) {
  const characters = [...text.trim().replaceAll(/\s+/g, " ")];
  const isLong = characters.length > LONGEST;
  return isLong ? `${characters.slice(0, LONGEST).join("")} …` : characters.join("") || "spaces alone";
}
