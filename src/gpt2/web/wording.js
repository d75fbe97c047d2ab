// How are numbers and tokens written in a sentence?

/**
 * Write a number for a reader: four significant digits.
 * @param {number} value
 */
export function written(value) {
  if (!Number.isFinite(value)) return value > 0 ? "∞" : value < 0 ? "-∞" : "none";
  const rounded = Number(value.toPrecision(4));
  return Math.abs(rounded) < 1e-4 && rounded !== 0 ? value.toExponential(2) : String(rounded);
}

/**
 * Write a probability for a reader.
 * @param {number} share from 0 to 1
 */
export function percent(share) {
  return share > 0 && share < 0.0005 ? "< 0.1 %" : `${(100 * share).toFixed(1)} %`;
}

/**
 * Quote a token; one that is written from right to left does not turn the words around it.
 * @param {string} token
 */
export function quoted(token) {
  return `“\u2068${token}\u2069”`; // first strong isolate ... pop directional isolate
}

/**
 * Return a token's text so that it can be seen: spaces alone are drawn as such.
 * @param {string | null} text null if no token has the id
 * @param {number} id
 */
export function visible(text, id) {
  if (text === null) return `[${id}]`;
  return text.trim() === "" ? spaced(text) : text;
}

/**
 * Return the text of a token that is predicted: its first space is drawn, as in the pictures, so
 * that "If" and " If" differ in a list.
 * @param {string | null} text null if no token has the id
 * @param {number} id
 */
export function predicted(text, id) {
  return text === null ? `[${id}]` : spaced(text);
}

function spaced(text) {
  return text.replaceAll(" ", "␣");
}
