// How is a text copied? By a button that says whether it was.

import { announce } from "gpt2/announce.js";
import { create } from "gpt2/dom.js";

const SHOWN = 2000; // milliseconds

/**
 * Return a button that copies a text.
 * @param {() => string} text
 */
export function copyButton(text) {
  const button = create("button", { onclick: copy }, "Copy");

  async function copy() {
    const copied = await navigator.clipboard?.writeText(text()).then(
      () => true,
      () => false,
    );
    button.textContent = copied ? "Copied" : "Not allowed here";
    announce(copied ? "Copied" : "This browser does not allow it here.");
    setTimeout(() => (button.textContent = "Copy"), SHOWN);
  }

  return button;
}
