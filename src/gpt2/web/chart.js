// How are lines over an axis shown? As an SVG image; the pointer reads their values.

import { create, createSvg, tableBehind } from "gpt2/dom.js";

const HEIGHT = 260; // pixels
const MARGIN = { left: 52, right: 12, top: 10, bottom: 40 };
const TABLE_ROWS = 33;
const MOST_WIDE = 400; // points of a line; longer ones are thin, which is drawn five times as fast
const DOT = "m-2 0a2 2 0 1 0 4 0a2 2 0 1 0-4 0m2 0"; // a circle around a point of a path

/**
 * @typedef {object} Line
 * @property {string} name
 * @property {ArrayLike<number>} x rising
 * @property {ArrayLike<number | null>} y null where there is no value
 * @property {string} color
 * @property {number[]} [dash] strokes and gaps, in widths of the line
 * @property {boolean} [dots] mark the points
 * @property {boolean} [faint]
 *
 * @typedef {object} ChartData
 * @property {string} title
 * @property {string} xName with its unit
 * @property {string} yName
 * @property {Line[]} lines
 * @property {boolean} [isLog] whether the horizontal axis is logarithmic, of x + 1
 * @property {[number, number]} [range] of the vertical axis
 */

/**
 * Show lines.
 * @param {ChartData} data
 * @returns {{element: HTMLElement, show: (values: ArrayLike<number>[]) => void,
 *   mark: (x: number) => void}} `show` draws other values of y; `mark` puts a rule at x
 */
export function lineChart(data) {
  const svg = createSvg("svg", { class: "chart", height: HEIGHT, "aria-hidden": "true" });
  const legend = data.lines.map(legendEntry);
  let lines = data.lines;
  let marked = null;
  let drawn = null; // what depends on the width

  function draw() {
    const width = svg.clientWidth;
    if (!width) return;
    const scales = scalesOf(data, width);
    svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`); // on paper it is scaled
    const paths = lines.map(linePath);
    const [pointed, marker] = ["pointed", "marker"].map((name) =>
      createSvg("line", { class: name, y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom }),
    );
    svg.replaceChildren(...axes(data, scales, width), pointed, marker, ...paths);
    drawn = { scales, paths, marker, pointed };
    trace();
    mark(marked);
    point(null);
  }

  function trace() {
    lines.forEach((line, i) => drawn?.paths[i].setAttribute("d", pathOf(line, drawn.scales)));
  }

  function show(values) {
    lines = lines.map((line, i) => ({ ...line, y: values[i] }));
    trace();
  }

  function mark(x) {
    marked = x;
    if (drawn) place(drawn.marker, x === null ? null : drawn.scales.x(x));
  }

  function point(x) {
    place(drawn.pointed, x === null ? null : drawn.scales.x(x));
    lines.forEach((line, i) => {
      const at = x === null ? -1 : nearest(line.x, x);
      legend[i].lastChild.textContent = at < 0 || line.y[at] === null ? "" : shortly(line.y[at]);
    });
  }

  svg.addEventListener("pointermove", (event) => drawn && point(xUnder(event, svg, lines, drawn)));
  svg.addEventListener("pointerleave", () => drawn && point(null));
  new ResizeObserver(draw).observe(svg);
  const element = create(
    "figure",
    { class: "line-chart" },
    create("figcaption", {}, data.title),
    create("div", { class: "legend" }, ...legend),
    svg,
    tableBehind(data.title, () => tableOf(data, lines)),
  );
  return { element, show, mark };
}

function legendEntry(line) {
  const sample = createSvg("svg", { width: 28, height: 10, "aria-hidden": "true" });
  sample.append(linePath(line));
  sample.firstChild.setAttribute("d", "M1 5H27");
  return create("span", {}, sample, create("span", {}, line.name), create("output", {}));
}

function linePath({ color, dash = [], faint, x }) {
  const width = x.length > MOST_WIDE ? 1 : faint ? 1.25 : 1.75;
  const path = createSvg("path", { class: "line", "stroke-width": width });
  path.style.stroke = `light-dark(${color}, color-mix(in oklab, ${color}, white 35%))`;
  path.style.strokeDasharray = dash.map((length) => length * width).join(" ");
  path.style.opacity = faint ? 0.8 : 1;
  return path;
}

function scalesOf({ lines, isLog, range }, width) {
  const [first, last] = extent(lines.map(({ x }) => x));
  const xs = [isLog ? 0 : first, last];
  const ys = range ?? padded(extent(lines.map(({ y }) => y)));
  const along = isLog ? (x) => Math.log10(x + 1) : (x) => x;
  return {
    xs,
    ys,
    x: linear([along(xs[0]), along(xs[1])], [MARGIN.left, width - MARGIN.right], along),
    y: linear(ys, [HEIGHT - MARGIN.bottom, MARGIN.top], (y) => y),
    xTicks: isLog ? powers(xs[1]) : ticks(xs, width / 90),
    yTicks: ticks(ys, 5),
  };
}

function linear([low, high], [from, to], along) {
  const factor = high > low ? (to - from) / (high - low) : 0;
  return (value) => from + (along(value) - low) * factor;
}

function extent(lists) {
  let [low, high] = [Infinity, -Infinity];
  for (const list of lists) {
    for (let i = 0; i < list.length; i++) {
      if (list[i] === null || !Number.isFinite(list[i])) continue;
      low = Math.min(low, list[i]);
      high = Math.max(high, list[i]);
    }
  }
  return low <= high ? [low, high] : [0, 1];
}

function padded([low, high]) {
  const more = (high - low || 1) * 0.05;
  return [low - more, high + more];
}

/** Return about `count` round numbers within a range. */
function ticks([low, high], count) {
  const rough = (high - low) / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  const exact = (n) => Number((n * step).toPrecision(12)); // 0.3, not 0.30000000000000004
  return Array.from({ length: last - first + 1 }, (_, i) => exact(first + i));
}

function powers(high) {
  const found = [0];
  for (let power = 1; power <= high; power *= 10) found.push(power);
  return found;
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

function pathOf({ x: xs, y: ys, dots }, { x, y }) {
  const parts = [];
  let isOpen = false;
  for (let i = 0; i < xs.length; i++) {
    const isThere = ys[i] !== null && Number.isFinite(ys[i]);
    if (isThere) parts.push(`${isOpen ? "L" : "M"}${x(xs[i]).toFixed(1)} ${y(ys[i]).toFixed(1)}`);
    if (isThere && dots) parts.push(DOT);
    isOpen = isThere;
  }
  return parts.join("");
}

function place(line, x) {
  line.style.visibility = x === null ? "hidden" : "visible";
  if (x === null) return;
  line.setAttribute("x1", x);
  line.setAttribute("x2", x);
}

function xUnder(event, svg, lines, { scales }) {
  const pixel = event.clientX - svg.getBoundingClientRect().left;
  const { x: xs } = lines[0];
  let best = 0;
  for (let i = 1; i < xs.length; i++) {
    if (Math.abs(scales.x(xs[i]) - pixel) < Math.abs(scales.x(xs[best]) - pixel)) best = i;
  }
  return xs[best] ?? null;
}

function nearest(xs, x) {
  let best = xs.length - 1;
  for (let i = 0; i < xs.length; i++) if (Math.abs(xs[i] - x) < Math.abs(xs[best] - x)) best = i;
  return best;
}

/** Write a number for an axis: 12000 as 12k. */
function shortly(value) {
  const size = Math.abs(value);
  if (size >= 1e9) return `${Number((value / 1e9).toPrecision(3))}G`;
  if (size >= 1e6) return `${Number((value / 1e6).toPrecision(3))}M`;
  if (size >= 1e4) return `${Number((value / 1e3).toPrecision(3))}k`;
  return `${Number(value.toPrecision(4))}`.replace("-", "−");
}

function tableOf({ xName }, lines) {
  const { x } = lines[0];
  const count = Math.min(x.length, TABLE_ROWS);
  const rows = Array.from({ length: count }, (_, i) => {
    const at = Math.round((i * (x.length - 1)) / Math.max(1, count - 1));
    return [x[at], ...lines.map((line) => valueAt(line, x[at]))];
  });
  return { columns: [xName, ...lines.map(({ name }) => name)], rows };
}

function valueAt(line, x) {
  const at = nearest(line.x, x);
  return line.x[at] !== x || line.y[at] === null ? "" : Number(line.y[at].toPrecision(4));
}
