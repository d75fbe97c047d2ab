// Which lines does a run have? Its rows as columns, over steps, tokens or hours, and smoothed.

import { nearest } from "gpt2/scales.js";

const SMOOTHED = 50; // a smooth line is a mean over so small a part of the steps

/** What a chart may be over, with the name of its axis. */
export const OVER = {
  steps: "step",
  tokens: "tokens read",
  hours: "hours of training, without evaluations",
};

const PLACES = {
  steps: ({ step }) => step,
  tokens: ({ tokens }) => tokens ?? null,
  hours: ({ training_seconds: seconds }) => (seconds == null ? null : seconds / 3600),
};

/**
 * Return a column of a run's rows, without those whose place is not known.
 * @param {object[]} rows
 * @param {string} name
 * @param {keyof typeof OVER} over
 * @returns {{x: number[], y: (number | null)[]}}
 */
export function column(rows, name, over) {
  const place = PLACES[over];
  const [x, y] = [[], []];
  for (const row of rows) {
    const at = place(row);
    if (at === null) continue;
    x.push(at);
    y.push(row[name] ?? null);
  }
  return { x, y };
}

/**
 * Return where steps are; null where that is not known.
 * @param {object[]} rows
 * @param {number[]} steps
 * @param {keyof typeof OVER} over
 * @returns {(number | null)[]}
 */
export function placesOf(rows, steps, over) {
  if (over === "steps") return steps;
  if (!rows.length) return steps.map(() => null);
  const known = rows.map(({ step }) => step);
  return steps.map((step) => between(rows, known, step, PLACES[over]));
}

/** Interpolate between the rows before and after a step. */
function between(rows, known, step, place) {
  const at = nearest(known, step);
  const other = Math.min(Math.max(at + Math.sign(step - known[at]), 0), rows.length - 1);
  const [a, b] = [place(rows[at]), place(rows[other])];
  if (a === null || b === null || at === other) return a;
  return a + ((b - a) * (step - known[at])) / (known[other] - known[at]);
}

/**
 * Return the mean of the values around each, as many before as after it: as visual/losses.py.
 * @param {(number | null)[]} values
 * @returns {(number | null)[]} null where a value is
 */
export function smoothed(values) {
  const [sums, counts] = [[0], [0]];
  values.forEach((value, i) => {
    sums.push(sums[i] + (value ?? 0));
    counts.push(counts[i] + (value === null ? 0 : 1));
  });
  const most = Math.floor(values.length / SMOOTHED / 2);
  return values.map((value, i) => {
    const half = Math.min(most, i);
    const [first, last] = [i - half, Math.min(i + half + 1, values.length)];
    return value === null ? null : (sums[last] - sums[first]) / (counts[last] - counts[first]);
  });
}
