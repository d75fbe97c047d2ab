// How is a text copied? By a button that says whether it was.

import { announce } from "gpt2/announce.js";
import { create } from "gpt2/dom.js";

const SHOWN = 2000; // milliseconds

/**
 * Return a button that copies a text.
 * @param {() => string} text
 * @param {Element} [shown] holds the text: it is selected, so that Ctrl+C copies it where the
 *   browser does not let the button
 */
export function copyButton(text, shown) {
  const button = create("button", { onclick: copy }, "Copy");

  async function copy() {
    if (shown) getSelection().selectAllChildren(shown);
    const copied = await navigator.clipboard?.writeText(text()).then(
      () => true,
      () => false,
    );
    const refusal = shown ? "Press Ctrl+C" : "Not allowed here";
    button.textContent = copied ? "Copied" : refusal;
    announce(button.textContent);
    setTimeout(() => (button.textContent = "Copy"), SHOWN);
  }

  return button;
}
