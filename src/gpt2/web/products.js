// What is the mathematics of one head? Matrices are flat arrays, row after row. Dimension key:
// T tokens, D channels a head.

import { part } from "gpt2/packed.js";

/**
 * Return the product of a matrix (n, m) and a matrix (m, p): (n, p).
 * @param {ArrayLike<number>} a
 * @param {ArrayLike<number>} b
 * @param {number} n
 * @param {number} m
 * @param {number} p
 * @returns {Float64Array}
 */
export function product(a, b, n, m, p) {
  const out = new Float64Array(n * p);
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < m; k++) {
      for (let j = 0; j < p; j++) out[i * p + j] += a[i * m + k] * b[k * p + j];
    }
  }
  return out;
}

/**
 * Return the transpose of a matrix (n, m): (m, n).
 * @param {ArrayLike<number>} a
 * @param {number} n
 * @param {number} m
 */
function transposed(a, n, m) {
  return Float64Array.from({ length: n * m }, (_, i) => a[(i % n) * m + Math.floor(i / n)]);
}

/**
 * Return the scores (T, T) with -Infinity in place of those of later tokens.
 * @param {ArrayLike<number>} scores
 * @param {number} T
 */
export function masked(scores, T) {
  return Float64Array.from(scores, (score, i) => (i % T > Math.floor(i / T) ? -Infinity : score));
}

/**
 * Return attention weights with NaN in place of those of later tokens, which are left blank.
 * @param {any} weights (T, T), a typed array
 * @param {number} T
 * @returns {any} an array of the same type
 */
export function withoutFuture(weights, T) {
  return weights.map((weight, i) => (i % T > Math.floor(i / T) ? NaN : weight));
}

/**
 * Return the softmax of each row of a matrix (T, T); a score of -Infinity has the weight 0.
 * @param {ArrayLike<number>} scores
 * @param {number} T
 */
export function softmaxRows(scores, T) {
  const out = new Float64Array(T * T);
  for (let row = 0; row < T; row++) {
    let [highest, sum] = [-Infinity, 0];
    for (let i = row * T; i < (row + 1) * T; i++) highest = Math.max(highest, scores[i]);
    for (let i = row * T; i < (row + 1) * T; i++) sum += out[i] = Math.exp(scores[i] - highest);
    for (let i = row * T; i < (row + 1) * T; i++) out[i] /= sum;
  }
  return out;
}

/**
 * Return the average of each row (D) of a matrix and those before it, (T, D), by a loop.
 * @param {ArrayLike<number>} values
 * @param {number} T
 * @param {number} D
 */
export function averagesByLoop(values, T, D) {
  const out = new Float64Array(T * D);
  for (let t = 0; t < T; t++) {
    for (let d = 0; d < D; d++) {
      let sum = 0;
      for (let s = 0; s <= t; s++) sum += values[s * D + d];
      out[t * D + d] = sum / (t + 1);
    }
  }
  return out;
}

/**
 * Return the matrix (T, T) whose row t has 1 / (t + 1) up to the diagonal, and 0 after it.
 * @param {number} T
 */
export function averagingMatrix(T) {
  return Float64Array.from({ length: T * T }, (_, i) => {
    const row = Math.floor(i / T);
    return i % T > row ? 0 : 1 / (row + 1);
  });
}

/**
 * Return the largest difference between two matrices.
 * @param {ArrayLike<number>} a
 * @param {ArrayLike<number>} b
 */
export function largestDifference(a, b) {
  let largest = 0;
  for (let i = 0; i < a.length; i++) largest = Math.max(largest, Math.abs(a[i] - b[i]));
  return largest;
}

/**
 * Return a value that few are beyond, for a color scale around 0.
 * @param {ArrayLike<number>} values finite, or -Infinity
 */
export function limitOf(values) {
  const sizes = Float64Array.from(values, Math.abs).filter(Number.isFinite).sort();
  return sizes[Math.floor(0.98 * (sizes.length - 1))] || 1;
}

/**
 * Return the matrices of one head.
 * @param {import("gpt2/inside.js").OpenedText} text
 * @param {number} block
 * @param {number} head
 */
export function headOf(text, block, head) {
  const { queries: qs, keys: ks, values: vs } = text; // of all heads
  const [q, k, v] = [qs, ks, vs].map((all) => part(all, block, head));
  const [T, D] = q.shape;
  const scale = text.scales[block];
  const keysTransposed = transposed(k.values, T, D);
  const scores = product(q.values, keysTransposed, T, D, T);
  const scaled = scores.map((score) => score * scale);
  const hidden = masked(scaled, T);
  const weights = softmaxRows(hidden, T);
  const output = product(weights, v.values, T, T, D);
  const [queries, values] = [q.values, v.values];
  return { T, D, scale, queries, keysTransposed, values, scores, scaled, hidden, weights, output };
}
