// How are matrix products shown? Rows beside columns, and of one cell where its number comes from.

import { announce } from "gpt2/announce.js";
import { create } from "gpt2/dom.js";
import { described, matrix, numbersBehind } from "gpt2/matrix.js";
import { written } from "gpt2/wording.js";

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
  const part = (data, labels, onPoint) => matrix({ ...data, ...labels, isBare: true, onPoint });
  const views = {
    left: part(left, { labelsColumns: false }, (r, k) => point(r, column, k)),
    right: part(right, { labelsRows: false }, (k, c) => point(row, c, k)),
    result: part(result, { labelsRows: false, labelsColumns: false }, (r, c) => point(r, c)),
  };
  const place = create("p", { class: "place" });
  const sum = create("p", { class: "arithmetic" });

  function explain(r, c, term = null) {
    [row, column] = [r, c];
    views.left.mark(r, term);
    views.right.mark(term, c);
    views.result.mark(r, c);
    place.textContent = described(result, r, c);
    const all = Array.from({ length: left.columns }, (_, k) => [
      left.values[r * left.columns + k] || 0, // blank is a weight of 0
      right.values[k * right.columns + c],
    ]);
    const terms = all.filter(([weight]) => weight !== 0);
    sum.textContent =
      term === null
        ? `${sumOf(terms)} = ${written(result.values[r * result.columns + c])}`
        : `${left.columnName} ${term} adds ${sumOf([all[term]])} = ` +
          written(all[term][0] * all[term][1]);
  }

  function point(...cell) {
    explain(...cell);
    announce(`${place.textContent} = ${sum.textContent}`);
  }

  explain(...start);
  const parts = [
    create("div", { class: "corner" }, create("p", { class: "shapes" }, shapes), place, sum),
    create("div", { class: "right-factor" }, views.right.element),
    create("div", { class: "left-factor" }, views.left.element),
    create("div", { class: "result" }, views.result.element),
  ];
  const picture = create("div", { class: "product" }, ...parts);
  return create("div", {}, picture, tables(left, right, result));
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
  const views = [before, after].map((data) => matrix({ ...data, isBare: true, onPoint: point }));
  const place = create("p", { class: "place" });
  const text = create("p", { class: "arithmetic" });

  function explain(row, column) {
    views[0].mark(row, byRow ? null : column);
    views[1].mark(row, column);
    place.textContent = described(after, row, column);
    text.textContent = arithmetic(row, column);
  }

  function point(row, column) {
    explain(row, column);
    announce(`${place.textContent}. ${text.textContent}`);
  }

  explain(...start);
  return create(
    "div",
    {},
    create("div", { class: "corner" }, create("p", { class: "shapes" }, shapes), place, text),
    create("div", { class: "side-by-side" }, ...views.map((view) => view.element)),
    tables(before, after),
  );
}

function tables(...data) {
  const behind = data.map((each) => numbersBehind(() => each, `Numbers: ${each.title}`));
  return create("div", { class: "tables" }, ...behind);
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
