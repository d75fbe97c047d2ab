// What do all pages have around their content? A bar, a head, sections and an ending.

import { withCommas } from "gpt2/amounts.js";
import { create } from "gpt2/dom.js";
import { themeButton } from "gpt2/theme.js";

/**
 * Return data that the page holds, null if it has none of that name.
 * @param {string} id
 * @returns {any}
 */
export function readData(id) {
  const element = document.getElementById(id);
  return element && JSON.parse(element.textContent);
}

/**
 * Fill the page.
 * @param {object} data
 * @param {string} data.brand what the page is, in the bar
 * @param {Node} data.introduction
 * @param {HTMLElement[]} data.sections as `section` returns them, which the bar lists
 * @param {Node} data.ending
 * @param {Node[]} [data.tools] of the bar, before the button of the theme
 */
export function showFrame({ brand, introduction, sections, ending, tools = [] }) {
  const main = document.getElementById("main");
  const skip = create("a", { class: "skip", href: "#main" }, "Skip to the content");
  main.before(skip, bar(brand, sections, tools));
  main.append(introduction, ...sections);
  main.after(create("footer", {}, ending));
}

/**
 * Return a section of the page.
 * @param {string} id
 * @param {string} title
 * @param {string} lead
 * @param {(section: HTMLElement) => void} fill
 * @returns {HTMLElement}
 */
export function section(id, title, lead, fill) {
  const heading = create("h2", { id: `${id}-title` }, title);
  const attributes = { id, "aria-labelledby": heading.id, "data-title": title, tabindex: -1 };
  const element = create("section", attributes, heading, create("p", { class: "lead" }, lead));
  fill(element);
  return element;
}

/**
 * Return the head of a page about a model: its name and its sizes.
 * @param {object} model as visual/gallery/facts.py has it
 * @param {string} lead
 * @returns {HTMLElement}
 */
export function introduction(model, lead) {
  const facts = [
    ["parameters", model.parameters],
    ["blocks", model.n_layer],
    ["heads a block", model.n_head],
    ["channels", model.n_embd],
    ["tokens of context", model.n_positions],
    ["tokens in its vocabulary", model.vocab_size],
  ].map(([name, count]) =>
    create("div", {}, create("dt", {}, name), create("dd", {}, withCommas(count))),
  );
  return create(
    "div",
    { class: "introduction" },
    create("h1", {}, model.name),
    create("p", { class: "lead" }, lead),
    create("dl", { class: "facts" }, ...facts),
  );
}

function bar(brand, sections, tools) {
  const links = sections.map(({ id, dataset }) =>
    create("li", {}, create("a", { href: `#${id}` }, dataset.title)),
  );
  const contents = create("nav", { "aria-label": "Contents" }, create("ul", {}, ...links));
  const name = create("a", { class: "brand", href: "#main" }, brand);
  return create("header", { class: "bar" }, name, contents, ...tools, themeButton());
}
