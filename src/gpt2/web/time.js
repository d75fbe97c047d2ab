// How did the model become what it is? A slider over the moments that its training has kept.

import { roughly, withCommas } from "gpt2/amounts.js";
import { lineChart } from "gpt2/chart.js";
import { create, tableBehind } from "gpt2/dom.js";
import { attentionView, positionsView, sampleView, weightsView } from "gpt2/moments.js";

const EVERY = 450; // milliseconds a moment is shown while it plays
const PRECISION =
  "Of each moment the page holds positions in float32, and weights and attention in 256 steps " +
  "from the lowest value to the highest.";

/**
 * @typedef {object} Place that a reader has come to
 * @property {number | null} step of the slider, null at its end
 * @property {boolean} isPlaying
 * @property {number[]} head row and column of the attention that is shown large
 */

/**
 * Fill a section with what a run has kept: its loss, and a slider over its moments.
 * @param {HTMLElement} section
 * @param {object} run as visual/gallery/run.py makes it
 * @param {object} colors of the page
 * @param {Place} [place] to begin at
 * @returns {{leave: () => Place} | null} `leave` stops it, and returns where the reader is; null
 *   where there are no moments
 */
export function showTime(section, run, colors, place) {
  const views = [lossView(run, colors)];
  if (!run.moments?.length) {
    section.append(views[0].element);
    return null;
  }
  const attention = attentionView(run, colors, place?.head);
  for (const view of [positionsView, weightsView, sampleView]) views.push(view(run, colors));
  views.push(attention);
  const show = (index) => views.forEach((view) => view.show(index));
  const control = momentControl(run.moments, show, place);
  section.append(
    control.element,
    create("div", { class: "moments" }, ...views.map(({ element }) => element)),
    tableBehind("Moments of training", () => tableOf(run.moments), "Numbers: all moments"),
    create("p", { class: "muted" }, PRECISION),
  );
  return { leave: () => ({ ...control.leave(), head: attention.head() }) };
}

function momentControl(moments, show, place) {
  const last = moments.length - 1;
  const slider = create("input", {
    type: "range",
    min: 0,
    max: last,
    value: last,
    "aria-label": "Moment of training",
    oninput: () => {
      stop();
      set(Number(slider.value));
    },
  });
  const written = create("output", {});
  const button = create("button", { onclick: () => (timer ? stop() : play()) }, "Play");
  let [timer, isWaiting] = [null, false];

  function set(index) {
    const { step, tokens } = moments[index];
    slider.value = index;
    slider.setAttribute("aria-valuetext", `step ${step}`);
    written.textContent = `step ${withCommas(step)}, ${roughly(tokens)} tokens`;
    if (!isWaiting) requestAnimationFrame(draw);
    isWaiting = true;
  }

  function draw() {
    isWaiting = false; // a slider may move several times a frame
    show(Number(slider.value));
  }

  function play() {
    set(Number(slider.value) === last ? 0 : Number(slider.value));
    timer = setInterval(() => {
      if (Number(slider.value) < last) set(Number(slider.value) + 1);
      else stop();
    }, EVERY);
    button.textContent = "Pause";
  }

  function stop() {
    clearInterval(timer);
    timer = null;
    button.textContent = "Play";
  }

  function leave() {
    const isPlaying = timer !== null;
    stop();
    const index = Number(slider.value);
    return { step: index === last ? null : moments[index].step, isPlaying };
  }

  const start = moments.findIndex(({ step }) => step === place?.step);
  set(start < 0 ? last : start);
  if (place?.isPlaying) play();
  const element = create("div", { class: "moment-control" }, button, slider, written);
  return { element, leave };
}

function lossView({ loss, moments }, { series }) {
  const lines = [
    { name: "training", x: loss.step, y: loss.loss, color: series[0], faint: 0.8 },
    { name: "held out", x: loss.val_step, y: loss.val_loss, color: series[1], dots: true },
  ].filter(({ x }) => x.length);
  const axes = { xName: "step", yName: "nats a token", isLog: true };
  const chart = lineChart({ title: "Loss, this moment marked", ...axes, lines });
  chart.element.hidden = !lines.length;
  return { element: chart.element, show: (index) => chart.mark(moments[index].step) };
}

function tableOf(moments) {
  const rows = moments.map(({ step, tokens, sample }) => [step, tokens, sample]);
  return { columns: ["step", "tokens read", "sample"], rows };
}
