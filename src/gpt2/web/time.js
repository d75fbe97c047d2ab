// How did the model become what it is? A slider over the moments that its training has kept.

import { lineChart } from "gpt2/chart.js";
import { create, tableBehind } from "gpt2/dom.js";
import { attentionView, positionsView, sampleView, weightsView } from "gpt2/moments.js";

const EVERY = 450; // milliseconds a moment is shown while it plays
const PRECISION =
  "Of each moment the page holds positions in float32, and weights and attention in 256 steps " +
  "from the lowest value to the highest.";

/**
 * Fill a section with what a run has kept: its loss, and a slider over its moments.
 * @param {HTMLElement} section
 * @param {object} run as visual/history_data.py makes it
 * @param {object} colors of the page
 */
export function showTime(section, run, colors) {
  const loss = lossChart(run.loss, colors);
  if (!run.moments?.length) {
    section.append(loss.element);
    return;
  }
  const views = [
    positionsView(run, colors),
    weightsView(run, colors),
    sampleView(run),
    attentionView(run, colors),
  ];
  const show = (index) => {
    loss.mark(run.moments[index].step);
    for (const view of views) view.show(index);
  };
  const control = momentControl(run.moments, show);
  section.append(
    control,
    create("div", { class: "moments" }, loss.element, ...views.map(({ element }) => element)),
    tableBehind("Moments of training", () => tableOf(run.moments), "Numbers: all moments"),
    create("p", { class: "muted" }, PRECISION),
  );
}

function momentControl(moments, show) {
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
  const place = create("output", {});
  const button = create("button", { onclick: () => (timer ? stop() : play()) }, "Play");
  let [timer, isWaiting] = [null, false];

  function set(index) {
    const { step, tokens } = moments[index];
    slider.value = index;
    slider.setAttribute("aria-valuetext", `step ${step}`);
    place.textContent = `step ${step.toLocaleString("en")}, ${counted(tokens)} tokens`;
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

  set(last);
  return create("div", { class: "moment-control" }, button, slider, place);
}

function counted(tokens) {
  if (tokens >= 1e9) return `${(tokens / 1e9).toFixed(2)} billion`;
  if (tokens >= 1e6) return `${(tokens / 1e6).toFixed(2)} million`;
  return tokens.toLocaleString("en");
}

function lossChart(loss, { series }) {
  return lineChart({
    title: "Loss",
    xName: "step",
    yName: "nats a token",
    isLog: true,
    lines: [
      { name: "training", x: loss.step, y: loss.loss, color: series[0], faint: true },
      { name: "held out", x: loss.val_step, y: loss.val_loss, color: series[1], dots: true },
    ].filter(({ x }) => x.length),
  });
}

function tableOf(moments) {
  const rows = moments.map(({ step, tokens, sample }) => [step, tokens, sample]);
  return { columns: ["step", "tokens read", "sample"], rows };
}
