// How likely is each next token? Temperature and top-k, by the rule of generation/sampling.py.

/**
 * @typedef {{ids: number[], logits: Float32Array}} Ranked the largest logit first: the ids of the
 *   first tokens, and the logits of all
 */

/**
 * Return the tokens that can come next, those with the largest logit first, of equal ones the
 * lowest id first.
 * @param {Float32Array} logits by id, -Infinity for ids that no token has, which are left out
 * @param {number} most ids that are returned
 * @returns {Ranked}
 */
export function ranked(logits, most) {
  // Without a function that compares, a typed array is sorted several times as fast.
  const sorted = logits.filter((logit) => logit > -Infinity).sort().reverse();
  const smallest = sorted[Math.min(most, sorted.length) - 1];
  const ids = [];
  logits.forEach((logit, id) => logit >= smallest && ids.push(id));
  ids.sort((a, b) => logits[b] - logits[a] || a - b);
  return { ids: ids.slice(0, most), logits: sorted };
}

/**
 * Return what can be drawn, as generation/sampling.py keeps it: the k largest logits and those
 * equal to the smallest of them, divided by the temperature; at temperature 0 the first alone.
 * @param {Ranked} ranked
 * @param {number} temperature at least 0
 * @param {number} k at least 1
 * @returns {{count: number, mass: number, bits: number, probability: (place: number) => number}}
 *   how many are kept; the probability that they had together among all, at this temperature; the
 *   entropy of what is kept; and the probability by place, 0 for what is left out
 */
export function distribution({ logits }, temperature, k) {
  const only = (place) => (place === 0 ? 1 : 0);
  if (temperature === 0) return { count: 1, mass: 1, bits: 0, probability: only };
  const smallest = logits[Math.min(k, logits.length) - 1];
  let [total, kept, count] = [0, 0, 0];
  let weighted = 0; // sum of x exp(x), from which comes the entropy: ln(sum of exp(x)) - mean of x
  for (let place = 0; place < logits.length; place++) {
    const x = (logits[place] - logits[0]) / temperature;
    const share = Math.exp(x);
    total += share;
    if (logits[place] < smallest) continue;
    kept = total;
    count = place + 1;
    weighted += share && x * share;
  }
  return {
    count,
    mass: kept / total,
    bits: (Math.log(kept) - weighted / kept) / Math.LN2,
    probability: (place) =>
      place < count ? Math.exp((logits[place] - logits[0]) / temperature) / kept : 0,
  };
}

/**
 * Return the id of a token that is drawn from those that are kept; see `distribution`.
 * @param {Float32Array} logits by id
 * @param {number} temperature
 * @param {number} k
 * @param {number} at where in their probability, 0 to 1, such as Math.random()
 * @returns {number}
 */
export function drawn(logits, temperature, k, at) {
  const all = ranked(logits, logits.length);
  const { count, probability } = distribution(all, temperature, k);
  let left = at;
  for (let place = 0; place < count; place++) {
    left -= probability(place);
    if (left < 0) return all.ids[place];
  }
  return all.ids[count - 1]; // the sum was below 1 by rounding
}
