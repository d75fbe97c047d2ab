// How fast does a text come? The time to its first token, and tokens a second after it.

import { withCommas } from "gpt2/amounts.js";
import { counted } from "gpt2/playground/words.js";

const LEAST = 20; // milliseconds from which on a speed means something

/** Return a stopwatch of one text. */
export function stopwatch() {
  let [started, first, last, tokens, atFirst] = [0, 0, 0, 0, 0];

  function start() {
    [started, first, last, tokens, atFirst] = [performance.now(), 0, 0, 0, 0];
  }

  function count(added) {
    if (!added) return;
    last = performance.now();
    if (!tokens) [first, atFirst] = [last, added];
    tokens += added;
  }

  function facts() {
    if (!tokens) return "";
    const speed = (tokens - atFirst) / ((last - first) / 1000);
    const after = `${counted(tokens, "new token")}, the first after ${seconds(first - started)}`;
    return last - first < LEAST ? after : `${after}, ${rate(speed)} tokens a second`;
  }

  return { start, count, facts };
}

function seconds(milliseconds) {
  return milliseconds < 1000 ? `${Math.round(milliseconds)} ms` : `${rate(milliseconds / 1000)} s`;
}

function rate(value) {
  return value < 100 ? value.toPrecision(3) : withCommas(Math.round(value));
}
