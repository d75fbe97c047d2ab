// How does a run look in the charts? Its color and its dashes.

import { createSvg } from "gpt2/dom.js";

/**
 * @typedef {{color: string, dash: number[]}} Look
 */

/**
 * @param {object} colors of the page
 * @param {number} index of the run
 * @returns {Look}
 */
export function lookOf({ series, dashes }, index) {
  return { color: series[index % series.length], dash: dashes[index % dashes.length] };
}

/**
 * Return a short piece of a run's line.
 * @param {Look} look
 */
export function lineSample({ color, dash }) {
  const path = createSvg("path", { class: "line", d: "M1 6H31", "stroke-width": 2 });
  path.style.stroke = `light-dark(${color}, color-mix(in oklab, ${color}, white 35%))`;
  path.style.strokeDasharray = dash.map((length) => 2 * length).join(" ");
  return createSvg("svg", { class: "sample-line", viewBox: "0 0 32 12", "aria-hidden": "true" }, path);
}
