// How are elements made?

const SVG = "http://www.w3.org/2000/svg";

/**
 * Return a new element: create("button", { class: "quiet", onclick: close }, "Close").
 * @param {string} tag
 * @param {Object<string, any>} attributes; a function is a listener, false and null are left out
 * @param {...(Node | string)} children
 * @returns {HTMLElement}
 */
export function create(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/**
 * Return a new element of an SVG image, as `create` does.
 * @param {string} tag
 * @param {Object<string, any>} attributes
 * @param {...(Node | string)} children
 * @returns {SVGElement}
 */
export function createSvg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/**
 * @typedef {{title?: string, columns: string[], rows: (string | number | null)[][]}} Table
 */

/**
 * Return a table, closed at first, of the numbers behind a picture.
 * @param {string} title what the numbers are, unless the table has a title
 * @param {Table | (() => Table)} table or what returns it, called whenever it is opened
 * @param {string} [summary]
 * @returns {HTMLDetailsElement}
 */
export function tableBehind(title, table, summary = "Numbers") {
  const details = create("details", { class: "behind" }, create("summary", {}, summary));
  const fill = () => {
    const numbers = typeof table === "function" ? table() : table;
    const name = numbers.title ?? title;
    const columns = numbers.columns.map((name) => create("th", { scope: "col" }, name));
    const rows = numbers.rows.map((row) =>
      create("tr", {}, ...row.map((value) => create("td", {}, value === null ? "" : `${value}`))),
    );
    const content = create(
      "table",
      {},
      create("caption", { class: "unseen" }, name),
      create("thead", {}, create("tr", {}, ...columns)),
      create("tbody", {}, ...rows),
    );
    details.querySelector(".scroll")?.remove();
    details.append(scrollBox(`Numbers: ${name}`, content));
  };
  details.addEventListener("toggle", () => details.open && fill());
  return details;
}

/**
 * Have a table behind a picture show the numbers as they are now, if it is open.
 * @param {HTMLDetailsElement} details what `tableBehind` returned
 */
export function refill(details) {
  if (details.open) details.dispatchEvent(new Event("toggle"));
}

/**
 * Return a box in which wide content scrolls, by keyboard, too.
 * @param {string} label what it holds
 * @param {...Node} children
 * @returns {HTMLElement}
 */
export function scrollBox(label, ...children) {
  const attributes = { class: "scroll", tabindex: 0, role: "region", "aria-label": label };
  return create("div", attributes, ...children);
}

/**
 * Set custom properties of an element's style: setStyle(element, { row: 3 }) sets --row.
 * @param {HTMLElement} element
 * @param {Object<string, string | number>} properties
 */
export function setStyle(element, properties) {
  for (const [name, value] of Object.entries(properties)) {
    element.style.setProperty(`--${name}`, `${value}`);
  }
}
