// How likely is each next token? Temperature and top-k, by the rule of generation/sampling.py.

/**
 * Return all ids, those with the largest logit first, of equal ones the lowest id first.
 * @param {Float32Array} logits -Infinity for ids that no token has, which are left out
 * @returns {Uint32Array}
 */
export function ranked(logits) {
  const ids = Uint32Array.from(logits.keys()).filter((id) => logits[id] > -Infinity);
  return ids.sort((a, b) => logits[b] - logits[a] || a - b);
}

/**
 * Return what can be drawn, as generation/sampling.py keeps it: the k largest logits and those equal
 * to the smallest of them, divided by the temperature; at temperature 0 the first alone.
 * @param {Float32Array} logits
 * @param {Uint32Array} order what `ranked` returns
 * @param {number} temperature at least 0
 * @param {number} k at least 1
 * @returns {{probabilities: Float64Array, mass: number, bits: number}} probabilities of the ids kept,
 *   in their order; the probability that they had together among all, at this temperature; and the
 *   entropy of what is kept
 */
export function distribution(logits, order, temperature, k) {
  if (temperature === 0) return { probabilities: Float64Array.of(1), mass: 1, bits: 0 };
  const highest = logits[order[0]];
  const smallest = logits[order[Math.min(k, order.length) - 1]];
  let [kept, count, total] = [0, 0, 0];
  const shares = Float64Array.from(order, (id, i) => {
    const share = Math.exp((logits[id] - highest) / temperature);
    total += share;
    if (logits[id] >= smallest) [kept, count] = [total, i + 1];
    return share;
  });
  const probabilities = shares.subarray(0, count).map((share) => share / kept);
  let bits = 0;
  for (const p of probabilities) if (p > 0) bits -= p * Math.log2(p);
  return { probabilities, mass: kept / total, bits };
}
