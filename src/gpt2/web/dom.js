// How is an element made, and how does a screen reader learn of a change?

const ANNOUNCE_EVERY = 400; // milliseconds: a moving pointer passes more cells than can be spoken

/**
 * Make an element with its attributes and children: make("button", { onclick: go }, "Go").
 * @param {string} tag
 * @param {Record<string, any>} [attributes] by name; functions listen to the event that an "on" name
 *   has, true is an attribute without a value, false and undefined are left out
 * @param {...(Node | string)} children
 * @returns {any}
 */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value !== false && value !== undefined) {
      element.setAttribute(name, value === true ? "" : value);
    }
  }
  element.append(...children);
  return element;
}

/**
 * Set custom properties of a style, without their "--".
 * @param {HTMLElement} element
 * @param {Record<string, string | number>} properties
 */
export function setStyle(element, properties) {
  for (const [name, value] of Object.entries(properties)) {
    element.style.setProperty(`--${name}`, String(value));
  }
}

/**
 * Make a part of the page that is filled when it is opened for the first time.
 * @param {string} summary
 * @param {() => Node} content
 * @returns {HTMLDetailsElement}
 */
export function onRequest(summary, content) {
  const details = make("details", {}, make("summary", {}, summary));
  details.addEventListener("toggle", () => details.append(content()), { once: true });
  return details;
}

/**
 * Make a table in a box of its own, where it scrolls if it is wide.
 * @param {string} name what the table shows
 * @param {string[]} columns headings; the first column has the heading of each row
 * @param {(string | number)[][]} rows
 */
export function table(name, columns, rows) {
  const heads = columns.map((text) => make("th", { scope: "col" }, text));
  const body = rows.map(([first, ...others]) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, String(first)),
      ...others.map((value) => make("td", {}, String(value))),
    ),
  );
  return make(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": name },
    make("table", {}, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...body)),
  );
}

let region; // where screen readers listen
let waiting = ""; // what is to be announced

/**
 * Have a screen reader speak a text when it is idle; of texts in quick succession, the last.
 * @param {string} text
 */
export function announce(text) {
  if (!region) {
    region = make("div", { role: "status", "aria-live": "polite", class: "for-ears" });
    document.body.append(region);
  }
  if (!waiting) setTimeout(speak, ANNOUNCE_EVERY);
  waiting = text;
}

function speak() {
  region.textContent = waiting;
  waiting = "";
}
