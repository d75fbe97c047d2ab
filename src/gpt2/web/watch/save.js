// How is the page saved? As one file, which the server makes of what is known of the runs.

import { askFile } from "gpt2/ask.js";
import { create } from "gpt2/dom.js";

/**
 * Return the button that saves the page.
 * @param {string} path of the file
 * @param {string} name of the file
 */
export function saveButton(path, name) {
  const button = create("button", { onclick: save }, "Save");
  button.setAttribute("aria-label", "Save the page as one file");

  async function save() {
    button.disabled = true;
    button.textContent = "Saving …";
    try {
      const address = URL.createObjectURL(await askFile(path)); // a link could not send the key
      create("a", { href: address, download: name }).click();
      setTimeout(() => URL.revokeObjectURL(address), 60_000); // when it is surely written
      button.textContent = "Saved";
    } catch (error) {
      button.textContent = "Not saved";
      button.title = error.message;
    }
    button.disabled = false;
  }

  return button;
}
