// Which checkpoints does a run have, and what do evaluations say of them? As tables.

import { create, scrollBox } from "gpt2/dom.js";
import { written } from "gpt2/wording.js";
import { size, withCommas } from "gpt2/amounts.js";

const MOST_FILES = 3; // of an evaluation that are named

/**
 * Fill a section with the checkpoints of all runs.
 * @param {HTMLElement} section
 * @param {import("gpt2/watch/runs.js").Run[]} runs
 * @returns {{update: () => void}}
 */
export function showCheckpoints(section, runs) {
  const columns = ["step", "size", "held-out loss", "state"];
  return tableOf(section, "Checkpoints", columns, runs, checkpointRows);
}

function checkpointRows({ checkpoints, held_out: evaluations }) {
  const losses = new Map(evaluations.map(({ step, val_loss }) => [step, val_loss]));
  return checkpoints
    .toSorted((a, b) => b.step - a.step)
    .map(({ step, bytes, is_best: isBest, is_complete: isComplete }) => [
      withCommas(step),
      size(bytes),
      losses.get(step)?.toFixed(3) ?? "",
      isComplete ? (isBest ? "complete, the best" : "complete") : "being written",
    ]);
}

/**
 * Fill a section with the evaluations of all runs, beside the figures of other models.
 * @param {HTMLElement} section
 * @param {import("gpt2/watch/runs.js").Run[]} runs
 * @returns {{update: () => void}}
 */
export function showEvaluations(section, runs) {
  const columns = ["evaluation", "data", "step", "figure", "this model", "other models"];
  const rowsOf = ({ evaluations }) => evaluations.flatMap(figureRows);
  return tableOf(section, "Evaluations", columns, runs, rowsOf);
}

function figureRows(row) {
  const errors = row.standard_errors ?? {};
  const references = row.references ?? {};
  return Object.keys({ ...errors, ...references }).map((name) => {
    const value = row[name] == null ? "" : written(row[name]);
    const error = errors[name] == null ? "" : ` ± ${written(errors[name])}`;
    const others = Object.entries(references[name] ?? {});
    return [
      row.evaluation,
      filesOf(row.data ?? []),
      row.step == null ? "" : withCommas(row.step),
      name.replaceAll("_", " "),
      value + error,
      others.map(([model, figure]) => `${model}: ${written(figure)}`).join("; "),
    ];
  });
}

/** Return the names of files without their folders, of many the first. */
function filesOf(data) {
  const names = data.slice(0, MOST_FILES).map(([path]) => path.split(/[\\/]/).at(-1));
  const others = data.length - names.length;
  return names.join(", ") + (others ? ` and ${withCommas(others)} more` : "");
}

/** Fill a section with a table of what `rowsOf` returns for each state. */
function tableOf(section, title, columns, runs, rowsOf) {
  const names = runs.length > 1 ? ["run", ...columns] : columns;
  const head = create("tr", {}, ...names.map((name) => create("th", { scope: "col" }, name)));
  const body = create("tbody", {});
  const caption = create("caption", { class: "unseen" }, title);
  const table = create("table", { class: "data" }, caption, create("thead", {}, head), body);
  section.append(scrollBox(`Table: ${title}`, table));
  let last = "";

  function update() {
    const known = runs.filter(({ state }) => state);
    const rows = known.flatMap(({ name, state }) =>
      rowsOf(state).map((row) => (runs.length > 1 ? [name, ...row] : row)),
    );
    const written = JSON.stringify(rows);
    if (written !== last) body.replaceChildren(...rows.map(tableRow));
    last = written;
  }

  return { update };
}

function tableRow(row) {
  return create("tr", {}, ...row.map((value) => create("td", {}, value)));
}
