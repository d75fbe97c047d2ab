// How is a text shown as its tokens? As a row of buttons, of which one is chosen.

import { create } from "gpt2/dom.js";
import { written } from "gpt2/wording.js";

/**
 * Return the tokens of a text as a row, of which keys and clicks choose one.
 * @param {object} data
 * @param {string} data.name what is chosen
 * @param {string[]} data.tokens
 * @param {number} [data.first] position of the first token that can be chosen
 * @param {(token: number) => void} data.onChoose
 * @param {(token: number | null) => void} [data.onPoint] called with the token under pointer or
 *   focus, null when it leaves
 * @returns {{element: HTMLElement, buttons: HTMLElement[], choose: (token: number) => void}}
 */
export function tokenRow({ name, tokens, first = 0, onChoose, onPoint = () => {} }) {
  const buttons = tokens.map((text, i) =>
    create(
      "button",
      {
        class: "token",
        role: "radio",
        disabled: i < first,
        "aria-label": `${i}: ${text}`,
        onclick: () => onChoose(i),
        onfocus: () => onPoint(i),
        onblur: () => onPoint(null),
        onpointerenter: () => onPoint(i),
        onpointerleave: () => onPoint(null),
      },
      create("bdi", {}, text),
    ),
  );

  function choose(token) {
    buttons.forEach((button, i) => {
      button.setAttribute("aria-checked", String(i === token));
      button.tabIndex = i === token ? 0 : -1;
    });
  }

  function pressed(event) {
    const at = buttons.indexOf(event.target);
    const last = buttons.length - 1;
    const to = { ArrowLeft: at - 1, ArrowUp: at - 1, ArrowRight: at + 1, ArrowDown: at + 1 };
    const next = { ...to, Home: first, End: last }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    buttons[Math.max(first, Math.min(last, next))].focus();
    onChoose(Math.max(first, Math.min(last, next)));
  }

  const group = { class: "tokens", role: "radiogroup", "aria-label": name, onkeydown: pressed };
  const element = create("div", group, ...buttons);
  return { element, buttons, choose };
}

/**
 * Return the text as its tokens, with their ids, colored by surprisal.
 * @param {import("gpt2/inside.js").OpenedText} text
 * @param {string[]} colors of surprisal, lowest first
 * @param {number} highest bits that have the last color
 * @param {import("gpt2/choice.js").Choice} choice
 */
export function surprisalRow(text, colors, highest, choice) {
  const row = tokenRow({
    name: "Token",
    tokens: text.tokens,
    onChoose: (token) => choice.set({ token }),
  });
  row.buttons.forEach((button, i) => {
    const bits = text.bits[i];
    const said = bits === null ? "no surprisal: nothing is before it" : `${written(bits)} bits`;
    button.setAttribute("aria-label", `${i}: ${text.tokens[i]}, id ${text.ids[i]}, ${said}`);
    button.title = said;
    button.append(create("small", {}, String(text.ids[i])));
    if (bits !== null) tint(button, colors, bits / highest);
  });
  choice.follow(["token"], ({ token }) => row.choose(token));
  return row.element;
}

/**
 * Give an element a color of a scale, and letters that can be read on it.
 * @param {HTMLElement} element
 * @param {string[]} colors
 * @param {number} share of the scale, 0 to 1
 */
export function tint(element, colors, share) {
  const last = colors.length - 1;
  const color = colors[Math.round(Math.max(0, Math.min(1, share)) * last)];
  element.style.forcedColorAdjust = "none"; // the color is what is shown
  element.style.background = color;
  element.style.color = luminance(color) > 0.18 ? "#000000" : "#ffffff";
}

function luminance(color) {
  const number = parseInt(color.slice(1), 16);
  const [r, g, b] = [number >> 16, (number >> 8) & 255, number & 255].map(
    (part) => (part / 255) ** 2.2,
  );
  return 0.2126 * r + 0.7152 * g + 0.0722 * b; // WCAG 2.2, relative luminance
}
