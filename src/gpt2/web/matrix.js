// How is a matrix shown? As colored cells on a canvas; the one under pointer or cursor is read out.

import { create, refill, tableBehind } from "gpt2/dom.js";
import { grid } from "gpt2/grid.js";
import { quoted, written } from "gpt2/wording.js";

const TABLE_SIDE = 64; // rows and columns that a table has at most
const MIN_LABEL = 10; // pixels of a cell that has a label
const inksBy = new WeakMap(); // pixels, by list of colors

/**
 * @typedef {object} MatrixData
 * @property {string} title what the matrix is
 * @property {number} rows
 * @property {number} columns
 * @property {ArrayLike<number>} values row after row; what is not finite is left blank
 * @property {string[]} colors as "#rrggbb", of the lowest value first
 * @property {number} low value of the first color
 * @property {number} high value of the last color
 * @property {boolean} [isRoot] whether colors go by the square root, so that small values, too, are
 *   seen: for weights of attention
 * @property {[number, number]} [cell] width and height of a cell in pixels
 * @property {string} [rowName] what a row is, such as "query"
 * @property {string} [columnName]
 * @property {string[]} [rowLabels] texts of the rows
 * @property {string[]} [columnLabels]
 * @property {boolean} [labelsRows] false where a matrix beside this one has the labels already
 * @property {boolean} [labelsColumns]
 * @property {string} [blank] why cells are blank
 * @property {boolean} [isBare] true where what is read out, and the table, are shown elsewhere
 * @property {(row: number, column: number) => void} [onPoint] called with the cell pointed at
 */

/**
 * Show a matrix.
 * @param {MatrixData} data
 * @returns {{element: HTMLElement, show: (changed: Partial<MatrixData>) => void,
 *   mark: (row: number | null, column: number | null) => void}}
 *   `show` paints other values of the same shape; `mark` outlines a row, a column, or both and
 *   their cell.
 */
export function matrix(data) {
  const { rows, columns } = data;
  let shown = {
    rowName: "row",
    columnName: "column",
    cell: [cellSide(columns), cellSide(rows)],
    ...data,
  };
  const [width, height] = shown.cell;
  const cells = grid({
    name: data.title,
    rows,
    columns,
    cell: shown.cell,
    describe: (row, column) => described(shown, row, column),
    onPoint: data.onPoint,
    rowLabels: (data.labelsRows ?? true) && height >= MIN_LABEL ? data.rowLabels : [],
    columnLabels: (data.labelsColumns ?? true) && width >= MIN_LABEL ? data.columnLabels : [],
  });
  [cells.canvas.width, cells.canvas.height] = [columns, rows];
  const caption = create("figcaption");
  const behind = numbersBehind(() => shown);

  function show(changed) {
    shown = { ...shown, ...changed };
    caption.textContent = shown.title;
    paint(cells.canvas, shown);
    cells.rename(shown.title);
    cells.describe();
    refill(behind);
  }

  show({});
  const scroll = create("div", { class: "scroll" }, cells.element);
  const element = create("figure", { class: "matrix" }, caption, scroll);
  if (!data.isBare) element.append(cells.readout, behind);
  return { element, show, mark: cells.mark };
}

/**
 * Return a matrix as a table, closed at first.
 * @param {() => MatrixData} current what returns it as it is now
 * @param {string} [summary]
 */
export function numbersBehind(current, summary) {
  return tableBehind("", () => tableOf(current()), summary);
}

/**
 * Show which color means which value.
 * @param {string[]} colors
 * @param {string} low text at the first color
 * @param {string} high
 */
export function colorScale(colors, low, high) {
  const texts = [low, high].map((text) => create("span", {}, text));
  const columns = colors.length;
  const canvas = create("canvas", { width: columns, height: 1, "aria-hidden": "true" });
  const values = [...colors.keys()];
  paint(canvas, { rows: 1, columns, values, colors, low: 0, high: columns - 1 });
  return create("p", { class: "color-scale" }, texts[0], canvas, texts[1]);
}

/**
 * Paint cells as the pixels of a canvas, which the style sheet magnifies; blank ones stay clear.
 * @param {HTMLCanvasElement} canvas
 * @param {Pick<MatrixData, "rows" | "columns" | "values" | "colors" | "low" | "high" |
 *   "isRoot">} data
 * @param {number} [x] where on the canvas
 * @param {number} [y]
 */
export function paint(canvas, data, x = 0, y = 0) {
  const { rows, columns, values, colors, low, high, isRoot } = data;
  const inks = inksOf(colors);
  const image = new ImageData(columns, rows);
  const pixels = new Uint32Array(image.data.buffer);
  const steps = colors.length - 1;
  const factor = high > low ? steps / (high - low) : 0;
  for (let i = 0; i < pixels.length; i++) {
    if (!Number.isFinite(values[i])) continue;
    const at = Math.max(0, Math.min(steps, (values[i] - low) * factor));
    pixels[i] = inks[((isRoot ? Math.sqrt(at * steps) : at) + 0.5) | 0]; // faster than Math.round
  }
  canvas.getContext("2d").putImageData(image, x, y);
}

/** Return colors as pixels: on a little endian processor the bytes are red, green, blue, 255. */
function inksOf(colors) {
  if (!inksBy.has(colors)) {
    const inks = colors.map((color) => {
      const [red, green, blue] = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
      return red | (green << 8) | (blue << 16) | (255 << 24);
    });
    inksBy.set(colors, Uint32Array.from(inks));
  }
  return inksBy.get(colors);
}

/**
 * Return what is read out of a cell.
 * @param {MatrixData} data
 * @param {number} row
 * @param {number} column
 */
export function described(data, row, column) {
  const value = data.values[row * data.columns + column];
  const text = Number.isFinite(value) || !data.blank ? written(value) : data.blank;
  return (
    `${data.rowName} ${named(data.rowLabels, row)}, ` +
    `${data.columnName} ${named(data.columnLabels, column)}: ${text}`
  );
}

function named(labels, index) {
  return labels ? `${index} ${quoted(labels[index])}` : String(index);
}

function cellSide(count) {
  if (count > 64) return Math.max(1, Math.floor(384 / count));
  return count <= 20 ? 18 : count <= 32 ? 12 : 6;
}

function tableOf(data) {
  const rows = Math.min(data.rows, TABLE_SIDE);
  const columns = Math.min(data.columns, TABLE_SIDE);
  const heads = Array.from({ length: columns }, (_, i) => data.columnLabels?.[i] ?? String(i));
  const body = Array.from({ length: rows }, (_, row) => [
    data.rowLabels?.[row] ?? String(row),
    ...Array.from({ length: columns }, (_, i) => {
      const value = data.values[row * data.columns + i];
      return Number.isFinite(value) ? written(value) : null;
    }),
  ]);
  const isCut = data.rows > rows || data.columns > columns;
  const title = data.title + (isCut ? `, first ${TABLE_SIDE} rows and columns` : "");
  return { title, columns: [`${data.rowName} \\ ${data.columnName}`, ...heads], rows: body };
}
