// Where on a slider is a whole number that grows in even ratios, from 1 to its most?

/** Steps of such a slider; the last is the most. */
export const STEPS = 1000;

/**
 * Return the number at a step.
 * @param {number} step from 0 to STEPS
 * @param {number} most
 */
export function numberAt(step, most) {
  return Math.round(most ** (step / STEPS));
}

/**
 * Return the step of a number.
 * @param {number} number from 1
 * @param {number} most
 */
export function stepOf(number, most) {
  return Math.round((STEPS * Math.log(number)) / Math.log(most));
}
