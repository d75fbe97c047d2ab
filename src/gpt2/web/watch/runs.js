// What is known of each run? What its server has sent so far, in bounded memory.

const MOST_ROWS = 2000; // that remain where rows are joined; twice as many are kept at most
const MEANS = ["loss", "learning_rate", "grad_norm", "tokens_per_second", "mfu"];

/**
 * @typedef {object} Run
 * @property {string} id
 * @property {string} name
 * @property {string} directory
 * @property {object | null} state as serve/watch sends it; null before it has come
 * @property {boolean} isHidden whether the reader wants it out of the charts
 */

/**
 * Take what a server sends of a run.
 * @param {Run} run
 * @param {{kind: "all" | "rows" | "part", state?: object, rows?: object[], part?: string,
 *   value?: any}} event
 * @returns {string[]} names of the parts of the state that have changed
 */
export function takeEvent(run, { kind, state, rows, part, value }) {
  if (kind === "all") {
    run.state = { ...state, rows: bounded(state.rows) };
    return Object.keys(run.state);
  }
  if (!run.state) return [];
  if (kind === "rows") {
    run.state.rows.push(...rows);
    run.state.rows = bounded(run.state.rows);
    return ["rows"];
  }
  run.state[part] = value;
  return [part];
}

/**
 * Return rows of steps, or means of them where they are too many to be kept.
 * @param {object[]} rows in order; each is one step, or the mean over the steps since the row before
 */
function bounded(rows) {
  if (rows.length <= 2 * MOST_ROWS) return rows;
  const span = rows.at(-1).step - rows[0].step + 1;
  const width = 2 ** Math.ceil(Math.log2(span / MOST_ROWS)); // steps that are joined
  const groups = [];
  let before = rows[0].step - 1;
  for (const row of rows) {
    const place = Math.floor((row.step - 1) / width);
    if (groups.at(-1)?.place !== place) groups.push({ place, rows: [], weights: [] });
    groups.at(-1).rows.push(row);
    groups.at(-1).weights.push(Math.max(1, row.step - before));
    before = row.step;
  }
  return groups.map(joined);
}

/** Return the last of some rows, with the means of all where steps differ by chance. */
function joined({ rows, weights }) {
  const row = { ...rows.at(-1) };
  for (const name of MEANS) row[name] = mean(rows.map((each) => each[name]), weights);
  return row;
}

/** Return the mean of the values that are known, null if none is. */
function mean(values, weights) {
  let [sum, weight] = [0, 0];
  values.forEach((value, i) => {
    if (value == null) return;
    sum += value * weights[i];
    weight += weights[i];
  });
  return weight ? sum / weight : null;
}
