// Which key does the server want? The reader gives it in a dialog; the tab alone keeps it.

import { create } from "gpt2/dom.js";

const KEY = "gpt2-api-key"; // in the tab's storage, which ends with the tab
const WHERE =
  "This server answers only to those who have its key: what it was started with as --api-key, or " +
  "as GPT2_API_KEY. This tab keeps it until you close the tab.";

let asking = null; // the promise of an answer, while the dialog is open

/** Return the key that was given, null if none was. */
export function knownKey() {
  return sessionStorage.getItem(KEY);
}

/**
 * Ask the reader for the key, where the server has refused a request.
 * @param {string | null} refused the key that the request had
 * @returns {Promise<boolean>} whether there is another key now
 */
export async function askKey(refused) {
  if (knownKey() !== refused) return true; // another request has asked meanwhile
  asking ??= answered(refused !== null).finally(() => (asking = null));
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
    sessionStorage.setItem(KEY, input.value);
    dialog.close("given");
  }

  document.body.append(dialog);
  dialog.showModal();
  input.focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "given");
    });
  });
}
