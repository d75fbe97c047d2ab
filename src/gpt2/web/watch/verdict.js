// Is a run normal? Whether it has diverged, and its held-out loss is in the range of like runs.

import { withCommas } from "gpt2/amounts.js";

const MANY_SKIPPED = 3; // steps in a row; training itself stops after more of them
const ABOVE_CHANCE = 1.1; // times the loss of guessing; a new model is up to 0.03 above it
const CAUSE = "Most often the learning rate is too high.";

/**
 * @typedef {object} Verdict
 * @property {"within" | "above" | "below" | "unknown" | "faulty"} place
 * @property {string} text
 */

/**
 * Say what is wrong with a run, or set its last held-out loss that has a known range beside that.
 * @param {object} state
 * @returns {Verdict}
 */
export function verdictOf(state) {
  const fault = faultOf(state);
  if (fault) return { place: "faulty", text: `Not normal. ${fault} ${CAUSE}` };
  return besideRange(state);
}

/** Return how a run has diverged, in a sentence; "" where it has not. */
function faultOf({ skipped, status, settings, held_out: evaluations }) {
  const inARow = skippedInARow(skipped, status.step);
  if (inARow >= MANY_SKIPPED) {
    return `The last ${inARow} steps were skipped: their loss or gradient norm was not finite.`;
  }
  const { step, val_loss: loss } = evaluations.at(-1) ?? {};
  const chance = Math.log(settings.vocab_size ?? Infinity);
  if (step === undefined || (loss !== null && !(loss > ABOVE_CHANCE * chance))) return "";
  const held = `At step ${withCommas(step)} the held-out loss is`;
  if (loss === null) return `${held} not finite.`;
  return `${held} ${loss.toFixed(3)}; tokens drawn by chance have ${chance.toFixed(3)}.`;
}

/** Return how many steps up to the last one were skipped. */
function skippedInARow(skipped, step) {
  let count = 0;
  while (count < skipped.length && skipped.at(-1 - count) === step - count) count++;
  return count;
}

function besideRange({ held_out: evaluations, band }) {
  const ranges = new Map(band.map(([step, ...range]) => [step, range]));
  const known = evaluations.filter(({ step, val_loss }) => val_loss != null && ranges.has(step));
  if (!known.length) return { place: "unknown", text: unknown(evaluations, band) };
  const { step, val_loss: loss } = known.at(-1);
  const [low, high] = ranges.get(step);
  const place = loss < low ? "below" : loss > high ? "above" : "within";
  const range = `${low.toFixed(3)} to ${high.toFixed(3)}`;
  const text = `${WORDS[place]} At step ${withCommas(step)} the held-out loss is ${loss.toFixed(3)}; `;
  return { place, text: `${text}like runs have ${range} there.` };
}

const UNSEEN = "Whether its loss is normal is seen at its first evaluation.";
const WORDS = {
  within: "Normal.",
  above: "Higher than known.",
  below: "Lower than known.",
};

function unknown(evaluations, band) {
  if (band.length || !evaluations.length) return UNSEEN;
  const { step, val_loss: loss } = evaluations.at(-1);
  const held = `The held-out loss is ${loss.toFixed(3)} at step ${withCommas(step)}.`;
  return `${held} No range is known for such a run.`;
}
