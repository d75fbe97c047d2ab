// How are counts, probabilities and endings of texts written?

import { withCommas } from "gpt2/amounts.js";
import { percent } from "gpt2/wording.js";

const ENDINGS = {
  stop: "ended by itself, or at a stop string",
  length: "as many tokens as asked for",
  timeout: "the server's time limit was reached",
  abort: "the server has stopped",
  stopped: "stopped",
};

/**
 * Write how many: "1 token", "1,024 tokens".
 * @param {number} number
 * @param {string} noun
 */
export function counted(number, noun) {
  return `${withCommas(number)} ${noun}${number === 1 ? "" : "s"}`;
}

/**
 * Return how likely a token was.
 * @param {number | null} logProbability in nats; null if the reader wrote it
 */
export function shareOf(logProbability) {
  return logProbability === null ? "written by you" : percent(Math.exp(logProbability));
}

/**
 * Return why a text ended; empty if it is not known.
 * @param {string | null} reason
 */
export function ending(reason) {
  return ENDINGS[reason] ?? "";
}

/**
 * Return that no token fits after a text.
 * @param {number} most tokens that the model can read
 */
export function fullContext(most) {
  const limit = counted(most, "token");
  return `The context is full: this model reads ${limit} at most. Shorten the text to go on.`;
}
