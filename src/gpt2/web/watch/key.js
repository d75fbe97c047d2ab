// How does the reader give the key that the server wants? In a form at the top of the page.

import { setKey } from "gpt2/ask.js";
import { create } from "gpt2/dom.js";

/**
 * Ask for the server's key.
 * @param {HTMLElement} notice where to ask
 * @returns {Promise<void>} when the reader has given one
 */
export function askKey(notice) {
  return new Promise((resolve) => {
    const input = create("input", { type: "password", required: true, autocomplete: "off" });
    const label = create("label", {}, "This server wants its API key ", input);
    const take = (event) => {
      event.preventDefault();
      setKey(input.value);
      form.remove();
      resolve();
    };
    const form = create("form", { class: "key", onsubmit: take }, label, create("button", {}, "Use it"));
    notice.append(form);
    input.focus();
  });
}
