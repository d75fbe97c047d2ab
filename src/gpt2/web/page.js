// What is on the page? Its sections, from the data that the page holds.

/**
 * Fill the page from the data inside it.
 * @param {Document} document
 */
export function showPage(document) {
  const page = readData(document, "page");
  const main = document.getElementById("main");
  const heading = document.createElement("h1");
  heading.textContent = page.model.name;
  main.append(heading);
}

function readData(document, id) {
  const element = document.getElementById(id);
  return element && JSON.parse(element.textContent);
}
