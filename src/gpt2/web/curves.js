// How do the lines, areas and marks of a chart look? As SVG shapes.

import { createSvg } from "gpt2/dom.js";
import { firstAtLeast } from "gpt2/scales.js";

/** @typedef {import("gpt2/chart.js").Line} Line */

// Points of a line; longer ones are thin, which is drawn five times as fast.
export const MOST_WIDE = 400;
const DOT = "m-2 0a2 2 0 1 0 4 0a2 2 0 1 0-4 0m2 0"; // a circle around a point of a path
const TOOTH = "l-4 8h8z"; // a small triangle on the axis

/**
 * Return a line as a legend shows it.
 * @param {Line} line
 */
export function lineSample(line) {
  const path = linePath(line);
  path.setAttribute("d", line.dots ? `M1 5H14${DOT}M14 5H27` : "M1 5H27");
  return path;
}

/**
 * Return an area as a legend shows it.
 * @param {import("gpt2/chart.js").Area} band
 */
export function bandSample({ color }) {
  return colored(createSvg("rect", { class: "band", x: 1, y: 0, width: 26, height: 10 }), color);
}

/**
 * Return marks as a legend shows them.
 * @param {import("gpt2/chart.js").Marks} marks
 */
export function markSample({ color }) {
  return colored(createSvg("path", { class: "tooth", d: `M14 1${TOOTH}` }), color);
}

/**
 * Return a line without its points, which `pathOf` has.
 * @param {Line} line
 */
export function linePath({ color, dash = [], faint, x }) {
  const width = x.length > MOST_WIDE ? 1 : faint ? 1.25 : 1.75;
  const path = colored(createSvg("path", { class: "line", "stroke-width": width }), color);
  path.style.strokeDasharray = dash.map((length) => length * width).join(" ");
  path.style.opacity = faint ?? 1;
  return path;
}

/** Give a part of the image a color of the data, lighter where the page is dark. */
function colored(shape, color) {
  shape.style.color = `light-dark(${color}, color-mix(in oklab, ${color}, white 35%))`;
  return shape;
}

/**
 * Return a range of y along x.
 * @param {import("gpt2/chart.js").Area} band
 * @param {ReturnType<typeof import("gpt2/scales.js").scalesOf>} scales
 */
export function area({ x: xs, low, high, color }, { x, y }) {
  const along = (values, i) => `${x(xs[i]).toFixed(1)} ${y(values[i]).toFixed(1)}`;
  const there = Array.from(xs, (_, i) => along(high, i));
  const back = Array.from(xs, (_, i) => along(low, i)).reverse();
  const d = there.length ? `M${[...there, ...back].join("L")}Z` : "";
  return colored(createSvg("path", { class: "band", d }), color);
}

/**
 * Return small triangles on the axis.
 * @param {import("gpt2/chart.js").Marks} marks
 * @param {ReturnType<typeof import("gpt2/scales.js").scalesOf>} scales
 * @param {number} bottom pixels from the top to the axis
 */
export function teeth({ x: xs, color }, { x }, bottom) {
  const d = Array.from(xs, (at) => `M${x(at).toFixed(1)} ${bottom - 8}${TOOTH}`);
  return colored(createSvg("path", { class: "tooth", d: d.join("") }), color);
}

/**
 * Return the path of a line; what is not finite interrupts it.
 * @param {Line} line
 * @param {ReturnType<typeof import("gpt2/scales.js").scalesOf>} scales
 */
export function pathOf({ x: xs, y: ys, dots }, { x, y, xs: [from, to] }) {
  const parts = [];
  let isOpen = false;
  const end = Math.min(xs.length, firstAtLeast(xs, to) + 2); // a line goes on behind the edge
  const isKnown = (i) => i < xs.length && ys[i] !== null && Number.isFinite(ys[i]);
  for (let i = Math.max(0, firstAtLeast(xs, from) - 1); i < end; i++) {
    const isThere = isKnown(i);
    const isAlone = !isOpen && !isKnown(i + 1); // a line of one point shows nothing
    if (isThere) parts.push(`${isOpen ? "L" : "M"}${x(xs[i]).toFixed(1)} ${y(ys[i]).toFixed(1)}`);
    if (isThere && (dots || isAlone)) parts.push(DOT);
    isOpen = isThere;
  }
  return parts.join("");
}
