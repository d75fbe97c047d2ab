// Is the page light or dark? As the system is, unless the reader chooses.

import { create } from "gpt2/dom.js";

const listeners = new Set();
const systemIsDark = matchMedia("(prefers-color-scheme: dark)");
systemIsDark.addEventListener("change", announce);

/**
 * Call a function each time the page turns light or dark; what a canvas shows is drawn anew.
 * @param {() => void} listener
 */
export function onTheme(listener) {
  listeners.add(listener);
}

/**
 * Return a color of the style sheet as it is now: color("--ink").
 * @param {string} name
 * @returns {string} such as "rgb(27, 29, 34)"
 */
export function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name);
}

/** Return the button that turns the page dark, or light again. */
export function themeButton() {
  const button = create("button", { class: "quiet", onclick: () => toggle(button) });
  onTheme(() => label(button));
  label(button);
  return button;
}

function isDark() {
  return (document.documentElement.dataset.theme ?? (systemIsDark.matches && "dark")) === "dark";
}

function toggle() {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  announce();
}

function announce() {
  for (const listener of listeners) listener();
}

function label(button) {
  button.textContent = isDark() ? "Light" : "Dark";
  button.setAttribute("aria-label", isDark() ? "Turn the page light" : "Turn the page dark");
}
