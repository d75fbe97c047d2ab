// How does the reader give the key that the server wants? In a dialog.

import { create } from "gpt2/dom.js";

const WHERE =
  "This server answers only to those who have its key: what it was started with as --api-key, or " +
  "as GPT2_API_KEY. This tab keeps it until you close the tab.";

let asking = null; // the promise of an answer, while the dialog is open

/**
 * Ask the reader for the key; all who ask while the dialog is open get the same answer.
 * @param {boolean} isWrong whether the server has refused a key
 * @returns {Promise<string>} "" if the reader gives none
 */
export function askKey(isWrong) {
  asking ??= answered(isWrong).finally(() => (asking = null));
  return asking;
}

function answered(isWrong) {
  const input = create("input", {
    type: "password",
    autocomplete: "off",
    required: true,
    "aria-describedby": "key-explanation",
  });
  const wrong = create("p", { class: "wrong", role: "alert" }, "The server refused this key.");
  const form = create(
    "form",
    { onsubmit: submit },
    create("h2", { id: "key-title" }, "API key"),
    create("p", { id: "key-explanation" }, WHERE),
    create("label", {}, "Key ", input),
    ...(isWrong ? [wrong] : []),
    create(
      "p",
      { class: "key-buttons" },
      create("button", { type: "submit", class: "primary" }, "Use this key"),
      create("button", { type: "button", onclick: () => dialog.close() }, "Cancel"),
    ),
  );
  const dialog = create("dialog", { class: "key", "aria-labelledby": "key-title" }, form);

  function submit(event) {
    event.preventDefault();
    dialog.close(input.value);
  }

  document.body.append(dialog);
  dialog.showModal();
  input.focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue);
    });
  });
}
