// How does the page follow its runs? By events from its server, which it asks again when they end.

import { AskError, events } from "gpt2/ask.js";
import { create } from "gpt2/dom.js";

const FIRST_WAIT = 1000; // milliseconds before it asks again, twice as many each time
const LONGEST_WAIT = 15_000;
const LOST = "The connection to the server is lost.";
const AGAIN = "What is shown stays; the page tries again by itself.";

/**
 * Follow the runs for as long as the page is open.
 * @param {string} path of the events
 * @param {HTMLElement} notice where it is written that there is no connection
 * @param {(event: object) => void} onEvent
 */
export async function follow(path, notice, onEvent) {
  const text = create("p", { class: "muted" }, "Asking the server …");
  notice.append(text);
  const take = (event) => {
    try {
      onEvent(event);
    } catch (error) {
      reportError(error); // of this page, not of the connection
    }
  };
  for (let wait = FIRST_WAIT; ; wait = Math.min(2 * wait, LONGEST_WAIT)) {
    try {
      for await (const event of events(path)) {
        wait = FIRST_WAIT;
        text.textContent = "";
        take(event);
      }
      text.textContent = `${LOST} ${AGAIN}`;
    } catch (error) {
      if (error.status === 401) await askedFor(text); // the reader has given no key
      else text.textContent = `${error instanceof AskError ? error.message : LOST} ${AGAIN}`;
    }
    await pause(wait);
  }
}

/** Wait until the reader wants to give the key. */
function askedFor(text) {
  text.textContent = "This server wants its key. ";
  return new Promise((resolve) => {
    text.append(create("button", { onclick: resolve }, "Give the key"));
  });
}

/** Wait, but no longer than until the reader comes back to the page, or the network does. */
function pause(milliseconds) {
  const done = new AbortController();
  const { signal } = done;
  return new Promise((resolve) => {
    const end = () => {
      done.abort();
      clearTimeout(timer);
      resolve();
    };
    const timer = setTimeout(end, milliseconds);
    const seen = () => document.visibilityState === "visible" && end();
    document.addEventListener("visibilitychange", seen, { signal });
    window.addEventListener("online", end, { signal });
  });
}
