// Where is a value in a chart? Its scales, and the round numbers at its axes.

const OUTLIERS = 0.005; // share of the values at each end that a robust range leaves out
const FEW = 40; // values, of which none is an outlier

/**
 * @typedef {object} Scales
 * @property {number[]} xs the first and the last x that are shown
 * @property {number[]} ys
 * @property {(value: number) => number} x from a value to its pixel
 * @property {(value: number) => number} y
 * @property {(pixel: number) => number} xAt from a pixel to its value
 * @property {number[]} xTicks
 * @property {number[]} yTicks
 */

/**
 * Return the scales of a chart.
 * @param {import("gpt2/chart.js").ChartData} data
 * @param {number[]} across pixels of the left and right end
 * @param {number[]} up pixels of the bottom and top
 * @returns {Scales}
 */
export function scalesOf(data, across, up) {
  const { isLog, unit = 1, range } = data;
  const lines = data.lines.filter(({ isHidden }) => !isHidden);
  const bands = (data.bands ?? []).filter(({ isHidden }) => !isHidden);
  const [first, last] = extent(lines.map(({ x }) => x));
  const xs = data.window ?? [isLog ? 0 : first, last];
  const ys = range ?? padded(heights(lines, bands, xs, data.isRobust));
  const along = isLog ? (x) => Math.log10(x + unit) : (x) => x;
  const back = isLog ? (value) => 10 ** value - unit : (value) => value;
  const ends = xs.map(along);
  const tickCount = (across[1] - across[0]) / 85;
  return {
    xs,
    ys,
    x: linear(ends, across, along),
    y: linear(ys, up, (y) => y),
    xAt: (pixel) => back(linear(across, ends, (at) => at)(pixel)),
    xTicks: isLog ? powers(xs, unit) : ticks(xs, tickCount),
    yTicks: ticks(ys, 5),
  };
}

/**
 * Return where the value nearest to x is in a rising list, -1 in an empty one.
 * @param {ArrayLike<number>} xs
 * @param {number} x
 */
export function nearest(xs, x) {
  const after = firstAtLeast(xs, x);
  if (after === xs.length) return xs.length - 1;
  return after > 0 && x - xs[after - 1] <= xs[after] - x ? after - 1 : after;
}

/**
 * Return the first place of a rising list whose value is at least x; its length if there is none.
 * @param {ArrayLike<number>} xs
 * @param {number} x
 */
export function firstAtLeast(xs, x) {
  let [low, high] = [0, xs.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (xs[middle] < x) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * Return the function from a value to its pixel.
 * @param {number[]} values the first and the last
 * @param {number[]} pixels of these two
 * @param {(value: number) => number} along such as a logarithm, which `values` have gone through
 */
function linear([low, high], [from, to], along) {
  const factor = high > low ? (to - from) / (high - low) : 0;
  return (value) => from + (along(value) - low) * factor;
}

/**
 * Return the values of a line between two xs.
 * @param {{x: ArrayLike<number>, y: ArrayLike<number | null>}} line
 * @param {number[]} window
 * @returns {number[]}
 */
export function valuesWithin({ x, y }, [from, to]) {
  const [start, end] = [firstAtLeast(x, from), firstAtLeast(x, to)];
  return Array.prototype.slice.call(y, start, end + 1).filter(isNumber);
}

/** Return the lowest and the highest value between two xs, of lines that may leave if all may. */
function heights(lines, bands, xs, isRobust) {
  const valuesOf = (line) => valuesWithin(line, xs);
  const there = lines.filter((line) => valuesOf(line).length);
  const staying = there.filter(({ mayLeave }) => !mayLeave);
  const values = (staying.length ? staying : there).map(valuesOf);
  const sides = bands.flatMap(({ x, low, high }) => [{ x, y: low }, { x, y: high }]);
  return extent([...(isRobust ? values.map(inner) : values), ...sides.map(valuesOf)]);
}

/** Return a low and a high one of many values, of few all. */
function inner(values) {
  if (values.length < FEW) return values;
  const sorted = Float64Array.from(values).sort();
  const cut = Math.floor(OUTLIERS * sorted.length);
  return [sorted[cut], sorted.at(-1 - cut)];
}

function isNumber(value) {
  return value !== null && Number.isFinite(value);
}

/** @returns {[number, number]} the lowest and the highest of all values */
function extent(lists) {
  let [low, high] = [Infinity, -Infinity];
  for (const list of lists) {
    for (let i = 0; i < list.length; i++) {
      if (!isNumber(list[i])) continue;
      low = Math.min(low, list[i]);
      high = Math.max(high, list[i]);
    }
  }
  return low <= high ? [low, high] : [0, 1];
}

function padded([low, high]) {
  const more = (high - low || Math.abs(high) || 1) * 0.05;
  return [low - more, high + more];
}

/**
 * Return about `count` round numbers within a range.
 * @param {number[]} range its ends
 * @param {number} count
 */
function ticks([low, high], count) {
  if (!(high > low)) return [low];
  const rough = (high - low) / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  const steps = [0.5, 1, 2, 5, 10].map((n) => n * power);
  const firstOf = (step) => Math.ceil(low / step - 1e-9);
  const lastOf = (step) => Math.floor(high / step + 1e-9);
  const coarse = steps.findIndex((step, i) => i > 0 && step >= rough * (1 - 1e-9));
  const hasTwo = lastOf(steps[coarse]) > firstOf(steps[coarse]); // one alone shows no scale
  const step = steps[hasTwo ? coarse : coarse - 1];
  const [first, last] = [firstOf(step), lastOf(step)];
  const exact = (n) => Number((n * step).toPrecision(12)); // 0.3, not 0.30000000000000004
  return Array.from({ length: last - first + 1 }, (_, i) => exact(first + i));
}

/** Return the powers of ten of a logarithmic axis, and 0 where it begins there. */
function powers([low, high], unit) {
  const found = low === 0 ? [0] : [];
  const first = Math.ceil(Math.log10(Math.max(unit, low)) - 1e-9);
  for (let power = first; 10 ** power <= high; power++) found.push(10 ** power);
  return found.length > 1 ? found : ticks([low, high], 4);
}
