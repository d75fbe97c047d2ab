// How does the page follow its runs? By events from its server, which it asks again when they end.

import { events } from "gpt2/ask.js";

const FIRST_WAIT = 1000; // milliseconds before it asks again, twice as many each time
const LONGEST_WAIT = 15_000;

/**
 * Follow the runs for as long as the page is open.
 * @param {string} path of the events
 * @param {object} listeners
 * @param {(event: object) => void} listeners.onEvent
 * @param {(message: string) => void} listeners.onConnection what is wrong; "" if nothing
 * @param {() => Promise<void>} listeners.onKeyWanted returns when the reader has given a key
 */
export async function follow(path, { onEvent, onConnection, onKeyWanted }) {
  let wait = FIRST_WAIT;
  for (;;) {
    let message = "The server has ended its answer.";
    try {
      for await (const event of events(path)) {
        wait = FIRST_WAIT;
        onConnection("");
        onEvent(event);
      }
    } catch (error) {
      if (error.status === 401) {
        await onKeyWanted();
        continue;
      }
      message = error.message;
    }
    onConnection(message);
    await pause(wait);
    wait = Math.min(2 * wait, LONGEST_WAIT);
  }
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
