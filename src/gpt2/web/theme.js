// Is the page light or dark? As the system is, unless the reader chooses.

import { create } from "gpt2/dom.js";

const systemIsDark = matchMedia("(prefers-color-scheme: dark)");

/** Return the button that turns the page dark, or light again. */
export function themeButton() {
  const button = create("button", { onclick: toggle });

  function toggle() {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    label();
  }

  function label() {
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", isDark() ? "Turn the page light" : "Turn the page dark");
  }

  systemIsDark.addEventListener("change", label);
  label();
  return button;
}

function isDark() {
  return (document.documentElement.dataset.theme ?? (systemIsDark.matches && "dark")) === "dark";
}
