// How is a matrix shown? As colored cells on a canvas; the cell under pointer or cursor is read out.

import { announce } from "gpt2/announce.js";
import { create, setStyle, tableBehind } from "gpt2/dom.js";

const TABLE_SIDE = 64; // rows and columns that a table has at most
const MIN_LABEL = 9; // pixels of a cell that has a label
const bytesOf = new WeakMap(); // red, green, blue, by list of colors

/**
 * @typedef {object} MatrixData
 * @property {string} title what the matrix is
 * @property {number} rows
 * @property {number} columns
 * @property {ArrayLike<number>} values row after row; NaN is left blank
 * @property {string[]} colors as "#rrggbb", of the lowest value first
 * @property {number} low value of the first color
 * @property {number} high value of the last color
 * @property {[number, number]} [cell] width and height of a cell in pixels
 * @property {string} [rowName] what a row is, such as "query"
 * @property {string} [columnName]
 * @property {string[]} [rowLabels] texts at the rows
 * @property {string[]} [columnLabels]
 * @property {boolean} [showRowLabels] false where a matrix beside this one has them already
 * @property {boolean} [showColumnLabels]
 * @property {string} [blank] why cells are blank
 * @property {(row: number, column: number) => void} [onPoint] called with the cell pointed at
 */

/**
 * Show a matrix.
 * @param {MatrixData} data
 * @returns {{element: HTMLElement, show: (data: Partial<MatrixData>) => void,
 *   mark: (row: number | null, column: number | null) => void}}
 *   `show` paints other values of the same shape; `mark` outlines a row, a column, or both and
 *   their cell.
 */
export function matrix(data) {
  const cell = [cellSide(data.columns), cellSide(data.rows)];
  let shown = { rowName: "row", columnName: "column", cell, ...data };
  let cursor = null; // row and column
  const canvas = create("canvas", { width: data.columns, height: data.rows });
  const readout = create("p", { class: "readout", "aria-hidden": "true" }, "\u00a0");
  const [rowBand, columnBand, frame] = ["row-band", "column-band", "cell-frame"].map((name) =>
    create("div", { class: name, hidden: true }),
  );
  const plane = create(
    "div",
    {
      class: "plane",
      tabindex: "0",
      role: "application",
      "aria-roledescription": "matrix",
      "aria-label": `${data.title}, ${data.rows} rows, ${data.columns} columns; arrow keys read it`,
      onkeydown: (event) => {
        const next = moved(event.key, cursor, data.rows, data.columns);
        if (!next) return;
        event.preventDefault();
        point(...next);
        frame.scrollIntoView?.({ block: "nearest", inline: "nearest" });
      },
      onpointermove: pointAt,
      onpointerdown: pointAt,
      onfocus: () => announce(cursor ? describe(shown, ...cursor) : ""),
    },
    canvas,
    rowBand,
    columnBand,
    frame,
  );

  function pointAt(event) {
    const box = canvas.getBoundingClientRect();
    const row = Math.floor(((event.clientY - box.top) / box.height) * data.rows);
    const column = Math.floor(((event.clientX - box.left) / box.width) * data.columns);
    if (row < 0 || column < 0 || row >= data.rows || column >= data.columns) return;
    if (!cursor || row !== cursor[0] || column !== cursor[1]) point(row, column);
  }

  function point(row, column) {
    mark(row, column);
    announce(readout.textContent);
    shown.onPoint?.(row, column);
  }

  function mark(row, column) {
    rowBand.hidden = row === null;
    columnBand.hidden = column === null;
    frame.hidden = row === null || column === null;
    setStyle(plane, { row: row ?? 0, column: column ?? 0 });
    cursor = frame.hidden ? null : [row, column];
    readout.textContent = cursor ? describe(shown, row, column) : "\u00a0";
  }

  function show(changed) {
    shown = { ...shown, ...changed };
    paint(canvas, shown);
    if (cursor) readout.textContent = describe(shown, ...cursor);
    if (behind.children.length > 1) behind.replaceWith((behind = numbers())); // it has old numbers
  }

  const isCut = data.rows > TABLE_SIDE || data.columns > TABLE_SIDE;
  const tableTitle = isCut ? `${data.title}, first ${TABLE_SIDE} rows and columns` : data.title;
  const numbers = () => tableBehind(tableTitle, () => tableOf(shown));
  let behind = numbers();
  show({});
  const element = create(
    "figure",
    { class: "matrix" },
    create("figcaption", {}, data.title),
    create("div", { class: "scroll" }, framed(plane, shown)),
    readout,
    behind,
  );
  const [width, height] = shown.cell;
  setStyle(element, { rows: data.rows, columns: data.columns });
  setStyle(element, { "cell-x": `${width}px`, "cell-y": `${height}px` });
  return { element, show, mark };
}

/**
 * Show which color means which value.
 * @param {string[]} colors
 * @param {string} low text at the first color
 * @param {string} high
 */
export function colorScale(colors, low, high) {
  const canvas = create("canvas", { width: colors.length, height: 1, "aria-hidden": "true" });
  const values = colors.map((_, i) => i);
  paint(canvas, { rows: 1, columns: colors.length, values, colors, low: 0, high: colors.length - 1 });
  return create("p", { class: "color-scale" }, `${low} `, canvas, ` ${high}`);
}

/**
 * Write a number for a reader: four significant digits.
 * @param {number} value
 */
export function written(value) {
  if (!Number.isFinite(value)) return value > 0 ? "∞" : value < 0 ? "-∞" : "none";
  const rounded = Number(value.toPrecision(4));
  return Math.abs(rounded) < 1e-4 && rounded !== 0 ? value.toExponential(2) : String(rounded);
}

/**
 * Paint cells as the pixels of a canvas, which the style sheet magnifies; NaN stays transparent.
 * @param {HTMLCanvasElement} canvas
 * @param {Pick<MatrixData, "rows" | "columns" | "values" | "colors" | "low" | "high">} data
 * @param {number} [x] where on the canvas
 * @param {number} [y]
 */
export function paint(canvas, { rows, columns, values, colors, low, high }, x = 0, y = 0) {
  const bytes = colorBytes(colors);
  const image = new ImageData(columns, rows);
  const steps = colors.length - 1;
  const factor = high > low ? steps / (high - low) : 0;
  for (let i = 0; i < rows * columns; i++) {
    if (Number.isNaN(values[i])) continue;
    const color = 3 * Math.max(0, Math.min(steps, Math.round((values[i] - low) * factor)));
    image.data.set(bytes.subarray(color, color + 3), 4 * i);
    image.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, x, y);
}

function colorBytes(colors) {
  if (!bytesOf.has(colors)) {
    const numbers = colors.map((color) => parseInt(color.slice(1), 16));
    bytesOf.set(colors, Uint8Array.from(numbers.flatMap((n) => [n >> 16, (n >> 8) & 255, n & 255])));
  }
  return bytesOf.get(colors);
}

/**
 * Return the cell that a key leads to, null if the key does not move.
 * @param {string} key
 * @param {[number, number] | null} cursor where it is now
 * @param {number} rows
 * @param {number} columns
 * @returns {[number, number] | null}
 */
export function moved(key, cursor, rows, columns) {
  const [row, column] = cursor ?? [0, 0];
  const places = {
    ArrowUp: [row - 1, column],
    ArrowDown: [row + 1, column],
    ArrowLeft: [row, column - 1],
    ArrowRight: [row, column + 1],
    Home: [row, 0],
    End: [row, columns - 1],
  };
  if (!places[key]) return null;
  const [r, c] = cursor ? places[key] : [0, 0];
  return [Math.max(0, Math.min(rows - 1, r)), Math.max(0, Math.min(columns - 1, c))];
}

function describe(data, row, column) {
  const value = data.values[row * data.columns + column];
  const text = Number.isNaN(value) ? (data.blank ?? "blank") : written(value);
  return (
    `${data.rowName} ${named(data.rowLabels, row)}, ` +
    `${data.columnName} ${named(data.columnLabels, column)}: ${text}`
  );
}

function named(labels, index) {
  return labels ? `${index} “${labels[index]}”` : String(index);
}

function framed(plane, data) {
  const [width, height] = data.cell;
  const rows = data.showRowLabels !== false && height >= MIN_LABEL ? data.rowLabels : undefined;
  const columns =
    data.showColumnLabels !== false && width >= MIN_LABEL ? data.columnLabels : undefined;
  return create(
    "div",
    { class: "framed" },
    create("div", { class: "column-labels", "aria-hidden": "true" }, ...labelled(columns)),
    create("div", { class: "row-labels", "aria-hidden": "true" }, ...labelled(rows)),
    plane,
  );
}

function labelled(labels = []) {
  return labels.map((text) => create("span", {}, create("bdi", {}, text)));
}

function cellSide(count) {
  return count <= 20 ? 18 : count <= 32 ? 12 : count <= 64 ? 6 : Math.max(1, Math.floor(384 / count));
}

function tableOf(data) {
  const rows = Math.min(data.rows, TABLE_SIDE);
  const columns = Math.min(data.columns, TABLE_SIDE);
  const heads = Array.from({ length: columns }, (_, i) => data.columnLabels?.[i] ?? String(i));
  const body = Array.from({ length: rows }, (_, row) => [
    data.rowLabels?.[row] ?? String(row),
    ...Array.from({ length: columns }, (_, i) => {
      const value = data.values[row * data.columns + i];
      return Number.isNaN(value) ? "" : written(value);
    }),
  ]);
  return { columns: [`${data.rowName} \\ ${data.columnName}`, ...heads], rows: body };
}
