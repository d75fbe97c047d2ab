// How are counts and endings of texts said?

const ENDINGS = {
  stop: "ended by itself, or at a stop string",
  length: "as many tokens as asked for",
  timeout: "the server's time limit was reached",
  abort: "the server has stopped",
  stopped: "stopped",
};

/**
 * Say how many: "1 token", "1,024 tokens".
 * @param {number} number
 * @param {string} noun
 */
export function counted(number, noun) {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
}

/**
 * Say why a text ended; empty if it is not known.
 * @param {string | null} reason
 */
export function ending(reason) {
  return ENDINGS[reason] ?? "";
}

/**
 * Say that no token fits after a text.
 * @param {number} most tokens that the model can read
 */
export function fullContext(most) {
  const limit = counted(most, "token");
  return `The context is full: this model reads at most ${limit}. To go on, edit the text and shorten it.`;
}
