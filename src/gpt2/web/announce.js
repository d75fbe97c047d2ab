// How does a screen reader learn of a change?

import { create } from "gpt2/dom.js";

const EVERY = 400; // milliseconds: a moving pointer passes more cells than can be spoken

let region; // where screen readers listen
let waiting = null; // the text that is announced next

/**
 * Have a screen reader speak a text when it is idle; of texts in quick succession, the last.
 * @param {string} text
 */
export function announce(text) {
  if (!region) {
    region = create("div", { role: "status", "aria-live": "polite", class: "unseen" });
    document.body.append(region);
  }
  if (waiting === null) setTimeout(speak, EVERY);
  waiting = text;
}

function speak() {
  region.textContent = waiting;
  waiting = null;
}
