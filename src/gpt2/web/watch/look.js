// How does a run look in the charts? Its color and its dashes.

import { colored } from "gpt2/curves.js";
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
  const round = Math.floor(index / series.length); // in which each color has another dash
  return { color: series[index % series.length], dash: dashes[(index + round) % dashes.length] };
}

/**
 * Return a short piece of a run's line.
 * @param {Look} look
 */
export function lineSample({ color, dash }) {
  const path = colored(createSvg("path", { class: "line", d: "M1 6H31", "stroke-width": 2 }), color);
  path.style.strokeDasharray = dash.map((length) => 2 * length).join(" ");
  const attributes = { class: "sample-line", viewBox: "0 0 32 12", "aria-hidden": "true" };
  return createSvg("svg", attributes, path);
}
