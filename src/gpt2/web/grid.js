// Which cell of a grid is pointed at, by pointer or by keys? The style sheet marks it.

import { announce } from "gpt2/announce.js";
import { create, setStyle } from "gpt2/dom.js";

/**
 * @typedef {object} GridData
 * @property {string} name what it shows, for screen readers
 * @property {number} rows
 * @property {number} columns
 * @property {[number, number]} cell width and height of a cell in pixels
 * @property {(row: number, column: number) => string} describe what is read out of a cell
 * @property {(row: number, column: number) => void} [onPoint] called with the cell pointed at
 * @property {(row: number, column: number) => void} [onChoose] called with the cell that a click,
 *   Enter or the space bar chooses
 * @property {string[]} [rowLabels]
 * @property {string[]} [columnLabels]
 */

/**
 * Return a canvas with labels, whose cells are pointed at; the caller paints it.
 * @param {GridData} data
 * @returns {{element: HTMLElement, canvas: HTMLCanvasElement, readout: HTMLElement,
 *   mark: (row: number | null, column: number | null) => void, describe: () => void,
 *   rename: (name: string) => void}}
 *   `mark` outlines a row, a column, or both and their cell; `describe` reads the cell out anew;
 *   `rename` changes the name.
 */
export function grid(data) {
  let cursor = null; // row and column
  const canvas = create("canvas");
  const readout = create("p", { class: "readout", "aria-hidden": "true" }, "\u00a0");
  const marks = ["row-band", "column-band", "cell-frame"].map((name) =>
    create("div", { class: name, hidden: true }),
  );
  const keys = data.onChoose ? "arrow keys move, Enter chooses" : "arrow keys read it";
  const plane = create(
    "div",
    {
      class: "plane",
      tabindex: 0,
      role: "application",
      "aria-roledescription": "matrix",
      onkeydown: pressed,
      onpointermove: pointed,
      onpointerdown: pointed,
      onclick: () => cursor && data.onChoose?.(...cursor),
      onfocus: () => announce(cursor ? data.describe(...cursor) : ""),
    },
    canvas,
    ...marks,
  );

  function rename(name) {
    const label = `${name}: ${data.rows} rows, ${data.columns} columns; ${keys}`;
    plane.setAttribute("aria-label", label);
  }

  function pressed(event) {
    if (event.key === "Enter" || event.key === " ") {
      if (cursor) data.onChoose?.(...cursor);
    } else {
      const next = moved(event.key, cursor, data.rows, data.columns);
      if (!next) return;
      point(...next);
      marks[2].scrollIntoView({ block: "nearest", inline: "nearest" });
    }
    event.preventDefault();
  }

  function pointed(event) {
    const box = canvas.getBoundingClientRect();
    const row = Math.floor(((event.clientY - box.top) / box.height) * data.rows);
    const column = Math.floor(((event.clientX - box.left) / box.width) * data.columns);
    const isInside = row >= 0 && column >= 0 && row < data.rows && column < data.columns;
    if (isInside && (row !== cursor?.[0] || column !== cursor[1])) point(row, column);
  }

  function point(row, column) {
    mark(row, column);
    announce(readout.textContent);
    data.onPoint?.(row, column);
  }

  function mark(row, column) {
    const isHidden = [row === null, column === null, row === null || column === null];
    marks.forEach((element, i) => (element.hidden = isHidden[i]));
    setStyle(plane, { row: row ?? 0, column: column ?? 0 });
    cursor = isHidden[2] ? null : [row, column];
    describe();
  }

  function describe() {
    readout.textContent = cursor ? data.describe(...cursor) : "\u00a0";
  }

  rename(data.name);
  const element = create(
    "div",
    { class: "framed" },
    labelled("column-labels", data.columnLabels),
    labelled("row-labels", data.rowLabels),
    plane,
  );
  const [width, height] = data.cell.map((side) => `${side}px`);
  const { rows, columns } = data;
  setStyle(element, { rows, columns, "cell-x": width, "cell-y": height });
  return { element, canvas, readout, mark, describe, rename };
}

function labelled(name, labels = []) {
  const spans = labels.map((text) => create("span", {}, create("bdi", {}, text)));
  return create("div", { class: name, "aria-hidden": "true" }, ...spans);
}

function moved(key, cursor, rows, columns) {
  const [row, column] = cursor ?? [0, 0];
  const next = {
    ArrowUp: [row - 1, column],
    ArrowDown: [row + 1, column],
    ArrowLeft: [row, column - 1],
    ArrowRight: [row, column + 1],
    Home: [row, 0],
    End: [row, columns - 1],
  }[key];
  if (!next || !cursor) return next && [0, 0]; // the first key shows where the cursor is
  return [Math.max(0, Math.min(rows - 1, next[0])), Math.max(0, Math.min(columns - 1, next[1]))];
}
