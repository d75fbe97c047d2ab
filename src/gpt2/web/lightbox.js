// How is one picture shown large, with what it means and how it is made?

import { copyButton } from "gpt2/copy.js";
import { create, scrollBox, tableBehind } from "gpt2/dom.js";

/**
 * @typedef {{name: string, title: string, seen: string, look_for: string, description: string,
 *   command: string, code: {where: string, source: string}[], image: string, width: number,
 *   height: number, table: {columns: string[], rows: (string | number | null)[][]}}} Picture
 */

/**
 * Return a dialog that shows one of the pictures, and the function that chooses which.
 * @param {Picture[]} pictures
 * @param {(index: number) => void} onClose is given the picture that was shown last
 * @returns {{dialog: HTMLDialogElement, show: (index: number) => void}} -1 closes it
 */
export function lightbox(pictures, onClose) {
  const dialog = create("dialog", { class: "lightbox", "aria-labelledby": "shown-title" });
  let shown = -1;
  const go = (step) => {
    show((shown + step + pictures.length) % pictures.length);
    history.replaceState(null, "", `#${pictures[shown].name}`); // back leaves the lightbox at once
  };
  const show = (index) => {
    if (index < 0) return dialog.close();
    shown = index;
    const place = `${index + 1} of ${pictures.length}`;
    dialog.replaceChildren(head(pictures[index], place, go, dialog), body(pictures[index]));
    if (!dialog.open) dialog.showModal();
    dialog.querySelector("h2").focus();
    dialog.scrollTop = 0;
  };
  dialog.addEventListener("keydown", (event) => onKey(event, go));
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("close", () => {
    const isOurs = pictures.some(({ name }) => `#${name}` === location.hash);
    if (isOurs) history.replaceState(null, "", location.pathname + location.search);
    onClose(shown);
  });
  return { dialog, show };
}

function onKey(event, go) {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  const { scrollWidth, clientWidth, tabIndex } = event.target;
  const scrolls = scrollWidth > clientWidth && tabIndex === 0;
  if (!step || scrolls || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  go(step);
}

function head(picture, place, go, dialog) {
  const button = (label, sign, onclick) =>
    create("button", { class: "round", "aria-label": label, title: label, onclick }, sign);
  return create(
    "header",
    {},
    create("h2", { id: "shown-title", tabindex: -1 }, picture.title),
    create("span", { class: "muted count" }, place),
    button("Previous picture", "←", () => go(-1)),
    button("Next picture", "→", () => go(1)),
    button("Close", "×", () => dialog.close()),
  );
}

function body(picture) {
  const { image, description, width, height } = picture;
  const large = create("img", { src: image, alt: description, width, height });
  const onclick = () => enlarge(zoom);
  const zoom = create("button", { "aria-pressed": "false", onclick }, "Full size");
  return create(
    "div",
    { class: "shown" },
    create(
      "figure",
      {},
      scrollBox(`Picture: ${picture.title}`, create("div", { class: "paper" }, large)),
      create("figcaption", {}, description),
      zoom,
    ),
    tableBehind(picture.title, picture.table),
    create(
      "div",
      { class: "columns" },
      part("What is seen", create("p", {}, picture.seen)),
      part("What to look for", create("p", {}, picture.look_for)),
    ),
    part("The command that made it", commandLine(picture.command)),
    part("How it is computed", ...picture.code.map(quotation)),
  );
}

function enlarge(button) {
  const isFull = button.parentElement.classList.toggle("full");
  button.setAttribute("aria-pressed", String(isFull));
}

function part(title, ...children) {
  return create("section", {}, create("h3", {}, title), ...children);
}

function quotation({ where, source }) {
  const code = create("pre", {}, create("code", {}, source));
  return create(
    "figure",
    { class: "quotation" },
    create("figcaption", {}, create("code", {}, where)),
    scrollBox(`Code: ${where}`, code),
  );
}

function commandLine(command) {
  const code = create("code", {}, command);
  const copy = copyButton(() => command, code);
  return create("div", { class: "command" }, create("pre", {}, code), copy);
}
