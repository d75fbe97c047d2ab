// Is the loss of a run normal? Whether its held-out loss is in the range of like runs.

import { counted } from "gpt2/amounts.js";

/**
 * @typedef {{place: "within" | "above" | "below" | "unknown", text: string}} Verdict
 */

/**
 * Set the last held-out loss that has a known range beside that range.
 * @param {object} state
 * @returns {Verdict}
 */
export function verdictOf({ held_out: evaluations, band }) {
  const ranges = new Map(band.map(([step, ...range]) => [step, range]));
  const known = evaluations.filter(({ step, val_loss }) => val_loss != null && ranges.has(step));
  if (!known.length) return { place: "unknown", text: unknown(evaluations, band) };
  const { step, val_loss: loss } = known.at(-1);
  const [low, high] = ranges.get(step);
  const place = loss < low ? "below" : loss > high ? "above" : "within";
  const range = `${low.toFixed(2)} to ${high.toFixed(2)}`;
  const text = `${WORDS[place]} At step ${counted(step)} the held-out loss is ${loss.toFixed(3)}; `;
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
  const held = loss == null ? "not finite" : loss.toFixed(3);
  return `The held-out loss is ${held} at step ${counted(step)}. No range is known for such a run.`;
}
