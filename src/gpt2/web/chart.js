// How are lines over an axis shown? As an SVG image; the pointer reads their values.

import { MOST_WIDE, area, bandSample, linePath, lineSample } from "gpt2/curves.js";
import { markSample, pathOf, teeth } from "gpt2/curves.js";
import { create, createSvg, refill, tableBehind } from "gpt2/dom.js";
import { nearest, scalesOf } from "gpt2/scales.js";

const HEIGHT = 260; // pixels
const MARGIN = { left: 64, right: 12, top: 10, bottom: 40 };
const TABLE_ROWS = 33;
const ROOM = 4; // pixels around the lines, for dots at their ends

/**
 * @typedef {object} Line
 * @property {string} name
 * @property {ArrayLike<number>} x rising
 * @property {ArrayLike<number | null>} y null where there is no value
 * @property {string} color
 * @property {number[]} [dash] strokes and gaps, in widths of the line
 * @property {boolean} [dots] mark the points
 * @property {number} [faint] its opacity
 * @property {boolean} [isHidden]
 *
 * @typedef {object} Area a range of y, which is known
 * @property {string} name
 * @property {ArrayLike<number>} x rising
 * @property {ArrayLike<number>} low
 * @property {ArrayLike<number>} high
 * @property {string} color
 * @property {boolean} [isHidden]
 *
 * @typedef {object} Marks places on the axis
 * @property {string} name
 * @property {ArrayLike<number>} x
 * @property {string} color
 * @property {boolean} [isHidden]
 *
 * @typedef {object} ChartData
 * @property {string} title
 * @property {string} xName with its unit
 * @property {string} yName
 * @property {Line[]} lines
 * @property {Area[]} [bands]
 * @property {Marks[]} [marks]
 * @property {boolean} [isLog] whether the horizontal axis is logarithmic, of x + unit
 * @property {number} [unit] 1 unless given
 * @property {[number, number]} [window] of the horizontal axis; all unless given
 * @property {[number, number]} [range] of the vertical axis
 * @property {boolean} [isRobust] let outliers be outside of the vertical axis
 * @property {(x: number | null) => void} [onPoint] called instead of `point` as the pointer moves
 */

/**
 * Show lines.
 * @param {ChartData} start
 * @returns {{element: HTMLElement, show: (values: ArrayLike<number>[]) => void,
 *   mark: (x: number) => void, point: (x: number | null) => void,
 *   update: (changes: Partial<ChartData>) => void}} `show` draws other values of y; `mark` puts a
 *   rule at x; `point` writes the values at x; `update` draws other data in the next frame
 */
export function lineChart(start) {
  let data = { ...start };
  const svg = createSvg("svg", { class: "chart", height: HEIGHT, "aria-hidden": "true" });
  const legend = create("div", { class: "legend" });
  const table = tableBehind(data.title, () => tableOf(data));
  let explained = ""; // by the legend
  let outputs = []; // of its lines
  let [marked, pointed] = [null, null];
  let drawn = null; // what depends on the width
  let isWaiting = false;
  let width = 0;

  function draw() {
    isWaiting = false;
    if (!width) return;
    explain();
    const right = width - MARGIN.right;
    const scales = scalesOf(data, [MARGIN.left, right], [HEIGHT - MARGIN.bottom, MARGIN.top]);
    const [rule, marker] = ["pointed", "marker"].map((name) =>
      createSvg("line", { class: name, y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom }),
    );
    const paths = data.lines.map(linePath);
    const areas = shown(data.bands).map((band) => area(band, scales));
    const places = shown(data.marks).map((each) => teeth(each, scales, HEIGHT - MARGIN.bottom));
    const plot = plotBox(width, ...areas, ...paths, ...places);
    svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`); // on paper it is scaled
    svg.replaceChildren(...axes(data, scales, width), rule, marker, plot);
    drawn = { scales, paths, marker, rule };
    trace();
    mark(marked);
    point(pointed);
  }

  function explain() {
    const entries = [...data.lines, ...(data.bands ?? []), ...(data.marks ?? [])];
    const looks = JSON.stringify(
      entries.map(({ name, isHidden, x }) => [name, isHidden, x.length > MOST_WIDE]),
    );
    if (explained === looks) return;
    explained = looks;
    const of = (all, sample) => (all ?? []).map((each) => legendEntry(each, sample(each)));
    outputs = data.lines.map(() => create("output", {}));
    const lines = of(data.lines, lineSample);
    lines.forEach((entry, i) => entry.append(outputs[i]));
    const others = [...of(data.bands, bandSample), ...of(data.marks, markSample)];
    legend.replaceChildren(...lines, ...others);
  }

  function trace() {
    data.lines.forEach((line, i) => {
      if (!line.isHidden) drawn?.paths[i].setAttribute("d", pathOf(line, drawn.scales));
    });
  }

  function show(values) {
    data.lines = data.lines.map((line, i) => ({ ...line, y: values[i] }));
    trace();
  }

  function update(changes) {
    const isOther = "xName" in changes && changes.xName !== data.xName;
    data = { ...data, ...changes };
    if (!isWaiting) requestAnimationFrame(draw);
    isWaiting = true;
    if (isOther) refill(table); // else a reader stays where they are in it
  }

  function mark(x) {
    marked = x;
    if (drawn) place(drawn.marker, x === null ? null : drawn.scales.x(x));
  }

  function point(x) {
    pointed = x;
    if (!drawn) return;
    const isWithin = x !== null && x >= drawn.scales.xs[0] && x <= drawn.scales.xs[1];
    place(drawn.rule, isWithin ? drawn.scales.x(x) : null);
    data.lines.forEach((line, i) => {
      const value = isWithin && !line.isHidden ? valueNear(line, x) : null;
      const text = value === null ? "" : shortly(value);
      if (outputs[i].textContent !== text) outputs[i].textContent = text;
    });
  }

  const pointAt = data.onPoint ?? point;

  svg.addEventListener("pointermove", (event) => drawn && pointAt(xUnder(event, svg, data, drawn)));
  svg.addEventListener("pointerleave", () => drawn && pointAt(null));
  explain();
  new ResizeObserver(() => {
    width = svg.clientWidth; // to ask for it at each drawing would lay out the page each time
    draw();
  }).observe(svg);
  const caption = create("figcaption", {}, data.title);
  const element = create("figure", { class: "line-chart" }, caption, legend, svg, table);
  return { element, show, mark, point, update };
}

function shown(parts) {
  return (parts ?? []).filter(({ isHidden }) => !isHidden);
}

function legendEntry({ name, isHidden }, shape) {
  const sample = createSvg("svg", { width: 28, height: 10, "aria-hidden": "true" }, shape);
  return create("span", { hidden: isHidden }, sample, create("span", {}, name));
}

/** Return a box that hides what is outside of the axes. */
function plotBox(width, ...children) {
  const [x, y] = [MARGIN.left - ROOM, MARGIN.top - ROOM];
  const size = [width - MARGIN.right + ROOM - x, HEIGHT - MARGIN.bottom + ROOM - y];
  const box = { x, y, width: Math.max(0, size[0]), height: size[1] };
  return createSvg("svg", { ...box, viewBox: `${x} ${y} ${box.width} ${size[1]}` }, ...children);
}

function axes({ xName, yName }, { x, y, xTicks, yTicks }, width) {
  const bottom = HEIGHT - MARGIN.bottom;
  const across = { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right };
  return [
    ...yTicks.map((tick) => createSvg("line", { ...across, y1: y(tick), y2: y(tick) })),
    ...yTicks.map((tick) => label(shortly(tick), MARGIN.left - 8, y(tick) + 4, "end")),
    ...xTicks.map((tick) => label(shortly(tick), x(tick), bottom + 16, "middle")),
    label(xName, (MARGIN.left + width - MARGIN.right) / 2, HEIGHT - 6, "middle"),
    createSvg(
      "text",
      { transform: `translate(11 ${bottom / 2}) rotate(-90)`, "text-anchor": "middle" },
      yName,
    ),
  ];
}

function label(text, x, y, anchor) {
  return createSvg("text", { x, y, "text-anchor": anchor }, text);
}

function place(line, x) {
  line.style.visibility = x === null ? "hidden" : "visible";
  if (x === null) return;
  line.setAttribute("x1", x);
  line.setAttribute("x2", x);
}

function xUnder(event, svg, { lines }, { scales }) {
  const pixel = event.clientX - svg.getBoundingClientRect().left;
  const x = Math.min(Math.max(scales.xAt(pixel), scales.xs[0]), scales.xs[1]);
  const near = shown(lines).filter(({ x: xs }) => xs.length);
  const places = near.map(({ x: xs }) => xs[nearest(xs, x)]);
  const distance = (place) => Math.abs(place - x);
  return places.length ? places.reduce((a, b) => (distance(b) < distance(a) ? b : a)) : null;
}

/** Return the value of a line nearest to x; null where the line has not begun, or has ended. */
function valueNear({ x: xs, y: ys }, x) {
  const last = xs.length - 1;
  const gap = last > 0 ? (xs[last] - xs[0]) / last : Infinity;
  if (last < 0 || x < xs[0] - gap || x > xs[last] + gap) return null;
  return ys[nearest(xs, x)];
}

/** Write a number for an axis: 12000 as 12k. */
function shortly(value) {
  const size = Math.abs(value);
  if (size >= 1e12) return Number(value.toPrecision(4)).toExponential().replace("-", "−");
  if (size >= 1e9) return `${Number((value / 1e9).toPrecision(3))}G`;
  if (size >= 1e6) return `${Number((value / 1e6).toPrecision(3))}M`;
  if (size >= 1e4) return `${Number((value / 1e3).toPrecision(3))}k`;
  return `${Number(value.toPrecision(4))}`.replace("-", "−");
}

function tableOf({ xName, lines, window }) {
  const seen = shown(lines).filter(({ x }) => x.length);
  const columns = [xName, ...seen.map(({ name }) => name)];
  if (!seen.length) return { columns, rows: [] };
  const longest = seen.reduce((a, b) => (b.x.at(-1) > a.x.at(-1) ? b : a));
  const [from, to] = window ?? [-Infinity, Infinity];
  const xs = Array.from(longest.x).filter((x) => x >= from && x <= to);
  const count = Math.min(xs.length, TABLE_ROWS);
  const rows = Array.from({ length: count }, (_, i) => {
    const x = xs[Math.round((i * (xs.length - 1)) / Math.max(1, count - 1))];
    return [x, ...seen.map((line) => valueAt(line, x))];
  });
  return { columns, rows };
}

/** Return the value at x; of a line whose points are not marked, the nearest. */
function valueAt(line, x) {
  const isThere = !line.dots || line.x[nearest(line.x, x)] === x;
  const value = isThere ? valueNear(line, x) : null;
  return value === null ? "" : Number(value.toPrecision(4));
}
