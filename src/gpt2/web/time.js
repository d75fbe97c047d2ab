// How did the model become what it is? A slider over the moments that its training has kept.

import { lineChart } from "gpt2/chart.js";
import { create, setStyle, tableBehind } from "gpt2/dom.js";
import { matrix, paint } from "gpt2/matrix.js";
import { part, unpack } from "gpt2/packed.js";

const EVERY = 450; // milliseconds a moment is shown while it plays

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
    attentionView(run, colors),
    sampleView(run),
  ];
  const show = (index) => {
    loss.mark(run.moments[index].step);
    for (const view of views) view.show(index);
  };
  const control = momentControl(run.moments, show);
  section.append(
    control,
    create("div", { class: "moments" }, loss.element, ...views.map(({ element }) => element)),
    tableBehind("moments", () => tableOf(run.moments)),
  );
  show(run.moments.length - 1);
}

function momentControl(moments, show) {
  const last = moments.length - 1;
  const slider = create("input", {
    type: "range",
    min: 0,
    max: last,
    value: last,
    "aria-label": "Moment of training",
    oninput: () => set(Number(slider.value)),
  });
  const place = create("output", {});
  const button = create("button", { onclick: () => (timer ? stop() : play()) }, "Play");
  let timer = null;

  function set(index) {
    const { step, tokens } = moments[index];
    slider.value = index;
    slider.setAttribute("aria-valuetext", `step ${step}`);
    place.textContent = `step ${step.toLocaleString("en")}, ${counted(tokens)} tokens`;
    requestAnimationFrame(() => show(index));
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

  slider.addEventListener("pointerdown", stop);
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

function positionsView({ positions, channels }, { series, dashes }) {
  const packed = unpack(positions); // (moments, channels, positions)
  const x = Float32Array.from({ length: packed.shape[2] }, (_, i) => i);
  const at = (moment) => channels.map((_, i) => part(packed, moment, i).values);
  const chart = lineChart({
    title: "Position embeddings",
    xName: "position, in tokens",
    yName: "value",
    range: limits(packed.values),
    lines: at(0).map((y, i) => ({
      name: `channel ${channels[i]}`,
      x,
      y,
      color: series[i],
      dash: dashes[i],
    })),
  });
  return { element: chart.element, show: (moment) => chart.show(at(moment)) };
}

function limits(values) {
  let size = 0;
  for (const value of values) size = Math.max(size, Math.abs(value));
  return [-size * 1.02 || -1, size * 1.02 || 1];
}

function weightsView({ weights, weights_name: name }, { weights: colors }) {
  const arrays = weights.map(unpack);
  const [rows, columns] = arrays[0].shape;
  const limit = 3 * deviation(arrays.at(-1).values); // beyond three deviations: black, white
  const data = { rows, columns, colors, low: -limit, high: limit, values: arrays[0].values };
  const title = `${name}, first ${rows} inputs and ${columns} outputs`;
  const shown = matrix({ ...data, title, rowName: "input", columnName: "output" });
  return { element: shown.element, show: (moment) => shown.show({ values: arrays[moment].values }) };
}

function deviation(values) {
  let [sum, squares] = [0, 0];
  for (const value of values) {
    sum += value;
    squares += value * value;
  }
  return Math.sqrt(squares / values.length - (sum / values.length) ** 2) || 1;
}

function attentionView({ attention, tokens, blocks, heads }, { attention: colors }) {
  const packed = unpack(attention); // (moments, blocks, heads, tokens, tokens)
  const [, blockCount, headCount, count] = packed.shape;
  for (let i = 0; i < packed.values.length; i++) {
    if (i % count > Math.floor(i / count) % count) packed.values[i] = NaN; // the future
  }
  const scale = { rows: count, columns: count, colors, low: 0, high: 1 };
  const named = (kind, numbers, i) => `${kind} ${numbers ? numbers[i] : i}`;
  let [moment, block, head] = [0, 0, 0];
  const values = () => part(packed, moment, block, head).values;
  const labels = { rowLabels: tokens, columnLabels: tokens, blank: "hidden: a later token" };
  const names = { title: "Attention of a head", rowName: "token", columnName: "attends to" };
  const large = matrix({ ...scale, ...labels, ...names, values: values() });
  const overview = create("canvas", {
    class: "overview",
    width: headCount * (count + 1) - 1,
    height: blockCount * (count + 1) - 1,
    "aria-hidden": "true",
    onclick: ({ offsetX, offsetY }) => {
      head = Math.min(headCount - 1, Math.floor((offsetX / overview.clientWidth) * headCount));
      block = Math.min(blockCount - 1, Math.floor((offsetY / overview.clientHeight) * blockCount));
      [blockChoice.value, headChoice.value] = [block, head];
      large.show({ values: values() });
    },
  });
  const blockChoice = choice("Block", blockCount, (i) => named("block", blocks, i), (i) => (block = i));
  const headChoice = choice("Head", headCount, (i) => named("head", heads, i), (i) => (head = i));

  function choice(label, size, name, set) {
    const options = Array.from({ length: size }, (_, i) => create("option", { value: i }, name(i)));
    const onchange = (event) => {
      set(Number(event.target.value));
      large.show({ values: values() });
    };
    return create("select", { "aria-label": label, onchange }, ...options);
  }

  function show(index) {
    moment = index;
    large.show({ values: values() });
    for (let b = 0; b < blockCount; b++) {
      for (let h = 0; h < headCount; h++) {
        const each = { ...scale, values: part(packed, moment, b, h).values };
        paint(overview, each, h * (count + 1), b * (count + 1));
      }
    }
  }

  setStyle(overview, { columns: headCount, rows: blockCount });
  const choices = create("p", { class: "choices" }, blockChoice, headChoice);
  const caption = create("figcaption", {}, "Attention of every head: a row a block, a column a head");
  const all = create("figure", { class: "all-heads" }, caption, overview);
  return { element: create("div", { class: "wide pair" }, all, create("div", {}, choices, large.element)), show };
}

function sampleView({ moments }) {
  const text = create("blockquote", {});
  const element = create(
    "figure",
    { class: "wide sample" },
    create("figcaption", {}, "A sample: the same prompt, the same draws"),
    text,
  );
  const show = (index) => {
    const { prompt = "", sample } = moments[index];
    text.replaceChildren(create("b", {}, prompt), sample);
  };
  return { element, show };
}

function tableOf(moments) {
  const rows = moments.map(({ step, tokens, sample }) => [step, tokens, sample]);
  return { columns: ["step", "tokens read", "sample"], rows };
}
