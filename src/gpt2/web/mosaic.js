// How is the attention of all heads shown? As small maps, a row a block and a column a head.

import { create, setStyle } from "gpt2/dom.js";
import { grid } from "gpt2/grid.js";
import { colorScale, paint } from "gpt2/matrix.js";

const SCALE_END = "1: all attention on one token; the middle is 0.25";

/**
 * Show a small map (T, T) for each head, of which one is chosen.
 * @param {object} data
 * @param {string} data.title
 * @param {number} data.T tokens
 * @param {(string | number)[]} data.blocks names of the rows
 * @param {(string | number)[]} data.heads names of the columns
 * @param {string[]} data.colors of attention weights, 0 first
 * @param {(row: number, column: number) => string} data.describe what is read out of a map
 * @param {(row: number, column: number) => void} data.onChoose
 * @returns {{element: HTMLElement, choose: (row: number, column: number) => void,
 *   show: (valuesOf: (row: number, column: number) => ArrayLike<number>) => void}}
 *   `choose` marks a map; `show` paints the weights of each, row after row, NaN where hidden
 */
export function mosaic({ title, T, blocks, heads, colors, describe, onChoose }) {
  const gap = Math.max(1, Math.round(T / 8)); // in pixels of the canvas
  const side = T + gap;
  const pixel = Math.max(1, Math.min(24, Math.round(sideOf(heads.length) / T)));
  const maps = grid({
    name: title,
    rows: blocks.length,
    columns: heads.length,
    cell: [side * pixel, side * pixel],
    rowLabels: blocks.map(String),
    columnLabels: heads.map(String),
    describe,
    onChoose,
  });
  [maps.canvas.width, maps.canvas.height] = [heads.length * side, blocks.length * side];
  const frame = create("div", { class: "chosen-frame" });
  maps.canvas.after(frame);

  function choose(row, column) {
    setStyle(frame, { row, column });
    maps.mark(row, column);
  }

  function show(valuesOf) {
    for (let row = 0; row < blocks.length; row++) {
      for (let column = 0; column < heads.length; column++) {
        const values = valuesOf(row, column);
        const data = { rows: T, columns: T, values, colors, low: 0, high: 1, isRoot: true };
        const [x, y] = [column, row].map((place) => place * side + (gap >> 1));
        paint(maps.canvas, data, x, y);
      }
    }
  }

  const element = create(
    "figure",
    { class: "matrix all-heads" },
    create("figcaption", {}, title),
    create("div", { class: "scroll" }, maps.element),
    maps.readout,
    colorScale(colors, "0", SCALE_END),
  );
  return { element, choose, show };
}

/** Return how wide a map is, in pixels of the page. */
function sideOf(count) {
  return count <= 4 ? 96 : count <= 8 ? 64 : count <= 12 ? 40 : 32;
}
