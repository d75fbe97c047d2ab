// How are the charts of runs shown? One of each kind, all over the same axis.

import { lineChart } from "gpt2/chart.js";
import { create } from "gpt2/dom.js";
import { whenSeen } from "gpt2/seen.js";
import { lookOf } from "gpt2/watch/look.js";
import { controls } from "gpt2/watch/controls.js";
import { OVER, column } from "gpt2/watch/columns.js";
import { kindsOf } from "gpt2/watch/kinds.js";

const DRAW_EVERY = 200; // milliseconds at least, however many rows come

/**
 * Fill a section with the charts of runs.
 * @param {HTMLElement} section
 * @param {import("gpt2/watch/runs.js").Run[]} runs
 * @param {object} colors of the page
 * @returns {{update: () => void}} `update` draws what is known now
 */
export function showCharts(section, runs, colors) {
  let pointed; // where the pointer is; undefined once all charts show it
  const onPoint = (x) => {
    if (pointed === undefined) requestAnimationFrame(pointAll);
    pointed = x;
  };
  const pointAll = () => {
    views.forEach(({ chart }) => chart.point(pointed));
    pointed = undefined;
  };
  const views = kindsOf(runs.length, colors).map((kind) => {
    const { title, yName } = kind;
    const data = { title, yName, xName: OVER.steps, lines: [], isRobust: true, onPoint };
    const chart = lineChart(data);
    const { element } = chart;
    return { kind, chart, element, draw: whenSeen(element, () => drawView(kind, chart)) };
  });
  views[0].element.classList.add("wide");
  const bar = controls(runs, colors, draw);
  const empty = create("p", {}, "No step is recorded yet; its curves will be here.");
  const grid = create("div", { class: "charts" }, ...views.map(({ element }) => element));
  section.append(bar.element, empty, grid);
  let timer = null;

  function update() {
    timer ??= setTimeout(draw, DRAW_EVERY);
  }

  function draw() {
    clearTimeout(timer);
    timer = null;
    const states = runs.map(({ state }) => state).filter(Boolean);
    for (const { kind, element, draw } of views) {
      element.hidden = !states.some(kind.has);
      if (!element.hidden) draw();
    }
    empty.hidden = views.some(({ element }) => !element.hidden);
    bar.element.hidden = !empty.hidden;
  }

  function drawView(kind, chart) {
    const { over, isLog, share } = bar.chosen();
    const places = runs.map((run, i) => ({ run, look: lookOf(colors, i) }));
    const known = places.filter(({ run }) => run.state);
    const parts = known.map(({ run, look }) => kind.parts(run, look, over));
    const all = (name) => parts.flatMap((part) => part[name] ?? []);
    chart.update({
      xName: OVER[over],
      isLog,
      unit: unitOf(known, over),
      window: windowOf(known, over, share),
      lines: all("lines"),
      bands: distinct(all("bands")),
      marks: all("marks"),
    });
  }

  draw();
  return { update };
}

/** Return the bands without those that are a part of another: runs of one recipe have the same. */
function distinct(bands) {
  const points = bands.map(
    ({ x, low, high }) => new Set(x.map((place, i) => `${[place, low[i], high[i]]}`)),
  );
  const isIn = (i, j) => [...points[i]].every((point) => points[j].has(point));
  const isPart = (i, j) => isIn(i, j) && !(isIn(j, i) && i <= j) && !bands[j].isHidden;
  return bands.filter((_, i) => !bands.some((_, j) => isPart(i, j)));
}

/** Return the place of the first row, where a logarithmic axis may begin. */
function unitOf(known, over) {
  const firsts = known.map(({ run }) => column(run.state.rows.slice(0, 1), "step", over).x[0]);
  return Math.min(...firsts.filter((first) => first > 0), over === "steps" ? 1 : Infinity);
}

/** Return the last share of what the shown runs have gone through; undefined for all of it. */
function windowOf(known, over, share) {
  if (share === 1) return undefined;
  const lasts = known
    .filter(({ run }) => !run.isHidden)
    .map(({ run }) => column(run.state.rows.slice(-1), "step", over).x[0] ?? 0);
  const last = Math.max(...lasts, 0);
  return last ? [last * (1 - share), last] : undefined;
}
