// Which lines does a run have? Its rows as columns, over steps, tokens or hours, and smoothed.

import { nearest } from "gpt2/scales.js";

const SMOOTHED = 50; // a smooth line is a mean over so small a part of the steps
const ALL_OF_FIRST = 64; // points of a smooth line that are kept, where a loss falls fast
const MOST_LATER = 300; // points after those, of a line that is smooth

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
 * Return a line whose values are means over those around, in as few points as it needs.
 * @param {{x: number[], y: (number | null)[]}} line
 */
export function smooth({ x, y }) {
  return sparse({ x, y: smoothed(y) });
}

/**
 * Return a smooth line in as few points as it needs; it does not break where a value is missing.
 * @param {{x: number[], y: (number | null)[]}} line
 */
export function sparse({ x, y }) {
  const stride = Math.ceil((x.length - ALL_OF_FIRST) / MOST_LATER);
  const isKept = (i) => i < ALL_OF_FIRST || i % stride === 0 || i === x.length - 1;
  const kept = Array.from(x.keys()).filter((i) => y[i] !== null && isKept(i));
  return { x: kept.map((i) => x[i]), y: kept.map((i) => y[i]) };
}

/** Return the mean of the values around each, as visual/losses.py has it; null where a value is. */
function smoothed(values) {
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
