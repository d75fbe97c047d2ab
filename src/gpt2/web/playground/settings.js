// How is a text to be written? Each setting with its slider, its number, and the way back.

import { create } from "gpt2/dom.js";
import { NEUTRAL } from "gpt2/playground/request.js";
import { numberAt, STEPS, stepOf } from "gpt2/ratios.js";

/**
 * @typedef {object} Knob
 * @property {string} key of the request
 * @property {string} name
 * @property {string} hint
 * @property {number} min
 * @property {number} max
 * @property {number} step
 * @property {boolean} [isLog] its slider is logarithmic, and its end is neutral
 */

/** @type {Knob[]} */
const KNOBS = [
  {
    key: "max_tokens",
    name: "New tokens",
    hint: "At the most; a text may end before.",
    min: 1,
    max: 1024,
    step: 1,
  },
  {
    key: "temperature",
    name: "Temperature",
    hint: "0 always takes the likeliest token; above 1 is more varied.",
    min: 0,
    max: 2,
    step: 0.01,
  },
  {
    key: "top_p",
    name: "Top-p",
    hint: "Only the likeliest tokens that together have this probability.",
    min: 0,
    max: 1,
    step: 0.01,
  },
  {
    key: "top_k",
    name: "Top-k",
    hint: "Only so many of the likeliest tokens; 0 for all.",
    min: 0,
    max: 1000,
    step: 1,
    isLog: true,
  },
  {
    key: "min_p",
    name: "Min-p",
    hint: "Only tokens that are at least this times as likely as the likeliest.",
    min: 0,
    max: 1,
    step: 0.01,
  },
  {
    key: "repetition_penalty",
    name: "Repetition penalty",
    hint: "Above 1, tokens of prompt and text become less likely.",
    min: 1,
    max: 2,
    step: 0.01,
  },
  {
    key: "presence_penalty",
    name: "Presence penalty",
    hint: "Above 0, tokens that the new text holds become less likely.",
    min: -2,
    max: 2,
    step: 0.01,
  },
  {
    key: "frequency_penalty",
    name: "Frequency penalty",
    hint: "The same, as often as the new text holds them.",
    min: -2,
    max: 2,
    step: 0.01,
  },
];

/**
 * Return the settings of a playground.
 * @param {number} mostTokens that a model reads
 * @param {() => void} onChange
 * @returns {{element: HTMLElement, values: () => import("gpt2/playground/request.js").Settings}}
 */
export function settings(mostTokens, onChange) {
  const knobs = KNOBS.map((each) =>
    knob(each.key === "max_tokens" ? { ...each, max: mostTokens } : each, onChange),
  );
  const others = [seedField(onChange), stopField(onChange)];
  const all = [...knobs, ...others];
  const reset = create("button", { onclick: resetAll }, "Reset all");
  const element = create("div", { class: "knobs" }, ...all.map((each) => each.element), reset);

  function resetAll() {
    for (const each of all) each.reset();
    onChange();
  }

  const values = () => Object.fromEntries(all.map(({ key, value }) => [key, value()]));
  return { element, values };
}

/** Return a slider and a number that follow each other. */
function knob({ key, name, hint, min, max, step, isLog }, onChange) {
  const neutral = Math.min(NEUTRAL[key], max);
  const ends = isLog ? { min: 0, max: STEPS, step: 1 } : { min, max, step };
  const id = `knob-${key}`;
  const about = { "aria-describedby": `${id}-hint` };
  const number = create("input", { type: "number", id, min, max, step, ...about, onchange: typed });
  const slider = create("input", { type: "range", ...ends, "aria-label": name, oninput: slid });
  const undoing = { class: "round", "aria-label": `Reset ${name}`, onclick: undo };
  const back = create("button", undoing, "↺");
  let value = neutral;

  function show() {
    number.value = String(value);
    slider.value = String(isLog ? toSlider(value, max) : value);
    slider.setAttribute("aria-valuetext", isLog && !value ? "all" : String(value));
    back.classList.toggle("unneeded", value === neutral);
    back.disabled = value === neutral;
  }

  function set(wanted) {
    value = Math.max(min, Math.min(max, wanted));
    show();
  }

  function typed() {
    const wanted = number.value.trim() === "" ? neutral : Number(number.value);
    set(step === 1 ? Math.round(wanted) : wanted);
    onChange();
  }

  function slid() {
    set(isLog ? fromSlider(Number(slider.value), max) : Number(slider.value));
    onChange();
  }

  function undo() {
    set(neutral);
    number.focus(); // the button that had it is disabled
    onChange();
  }

  show();
  const element = create(
    "div",
    { class: "knob" },
    create("label", { for: id }, name),
    number,
    back,
    slider,
    create("small", { class: "muted", id: `${id}-hint` }, hint),
  );
  return { key, element, value: () => value, reset: () => set(neutral) };
}

function seedField(onChange) {
  const id = "knob-seed";
  const about = { "aria-describedby": `${id}-hint`, placeholder: "a new one each time" };
  const input = create("input", { id, inputmode: "numeric", ...about, onchange: typed });
  const hint = "The same seed and settings write the same text again.";

  function typed() {
    const number = Number(input.value.trim());
    const isSeed = input.value.trim() !== "" && Number.isSafeInteger(number) && number >= 0;
    if (!isSeed) input.value = "";
    onChange();
  }

  return {
    key: "seed",
    element: field("Seed", id, input, hint),
    value: () => (input.value.trim() === "" ? null : Number(input.value)),
    reset: () => (input.value = ""),
  };
}

function stopField(onChange) {
  const id = "knob-stop";
  const about = { "aria-describedby": `${id}-hint`, spellcheck: "false", rows: 2 };
  const input = create("textarea", { id, ...about, onchange: onChange });
  const hint = "One a line, \\n for a line break. The text ends before the first that comes.";
  const value = () =>
    input.value
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => line.replaceAll("\\n", "\n").replaceAll("\\t", "\t"));
  return {
    key: "stop",
    element: field("Stop strings", id, input, hint),
    value,
    reset: () => (input.value = ""),
  };
}

function field(name, id, input, hint) {
  return create(
    "div",
    { class: "knob wide-field" },
    create("label", { for: id }, name),
    input,
    create("small", { class: "muted", id: `${id}-hint` }, hint),
  );
}

/** Return k from 1 on; the end of the slider is 0, all. */
function fromSlider(step, max) {
  return step >= STEPS ? 0 : numberAt(step, max);
}

function toSlider(k, max) {
  return k === 0 ? STEPS : Math.min(STEPS - 1, stepOf(k, max));
}
