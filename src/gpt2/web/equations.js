// How are matrix products shown? Rows beside columns, and of one cell where its number comes from.

import { create } from "gpt2/dom.js";
import { matrix, written } from "gpt2/matrix.js";

const MOST_TERMS = 4; // of a sum that are written out, beside the last

/**
 * @typedef {import("gpt2/matrix.js").MatrixData} MatrixData
 */

/**
 * Show a product: the left matrix beside the result, the right one above it, so that each cell of
 * the result lies where its row meets its column.
 * @param {object} data
 * @param {MatrixData} data.left (n, m)
 * @param {MatrixData} data.right (m, p)
 * @param {MatrixData} data.result (n, p)
 * @param {string} data.shapes the sizes as an equation
 * @param {[number, number]} data.start cell of the result that is explained at first
 * @returns {HTMLElement}
 */
export function productView({ left, right, result, shapes, start }) {
  let [row, column] = start;
  const views = {
    left: matrix({ ...left, onPoint: (r) => explain(r, column) }),
    right: matrix({ ...right, onPoint: (_, c) => explain(row, c) }),
    result: matrix({ ...result, onPoint: explain }),
  };
  const sum = create("p", { class: "arithmetic" });
  const corner = create("div", { class: "corner" }, create("p", { class: "shapes" }, shapes), sum);

  function explain(r, c) {
    [row, column] = [r, c];
    views.left.mark(r, null);
    views.right.mark(null, c);
    views.result.mark(r, c);
    const terms = Array.from({ length: left.columns }, (_, k) => [
      left.values[r * left.columns + k],
      right.values[k * right.columns + c],
    ]).filter(([weight]) => weight !== 0); // masked tokens add nothing
    const name = `${result.symbol}[${r}, ${c}]`;
    sum.textContent = `${name} = ${sumOf(terms)} = ${written(result.values[r * result.columns + c])}`;
  }

  explain(...start);
  return create(
    "div",
    { class: "product" },
    corner,
    create("div", { class: "right-factor" }, views.right.element),
    create("div", { class: "left-factor" }, views.left.element),
    create("div", { class: "result" }, views.result.element),
  );
}

/**
 * Show a matrix and what is made of it, cell by cell or row by row.
 * @param {object} data
 * @param {MatrixData} data.before
 * @param {MatrixData} data.after
 * @param {string} data.shapes
 * @param {[number, number]} data.start
 * @param {(row: number, column: number) => string} data.arithmetic how a cell comes about
 * @param {boolean} [data.byRow] whether a cell comes from its whole row
 * @returns {HTMLElement}
 */
export function stepView({ before, after, shapes, start, arithmetic, byRow = false }) {
  const views = [before, after].map((data) => matrix({ ...data, onPoint: explain }));
  const text = create("p", { class: "arithmetic" });

  function explain(row, column) {
    views[0].mark(row, byRow ? null : column);
    views[1].mark(row, column);
    text.textContent = arithmetic(row, column);
  }

  explain(...start);
  return create(
    "div",
    {},
    create("p", { class: "shapes" }, shapes),
    text,
    create("div", { class: "side-by-side" }, ...views.map((view) => view.element)),
  );
}

/**
 * Write out a sum of products.
 * @param {number[][]} terms pairs that are multiplied
 */
export function sumOf(terms) {
  const each = terms.map((factors) => factors.map(inSum).join("·"));
  if (each.length <= MOST_TERMS + 1) return each.join(" + ");
  return `${each.slice(0, MOST_TERMS).join(" + ")} + … + ${each.at(-1)} (${each.length} terms)`;
}

function inSum(value) {
  return value < 0 ? `(${written(value)})` : written(value);
}
