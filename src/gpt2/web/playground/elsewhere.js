// How is the same text asked for elsewhere? By curl, or in Python.

import { create, scrollBox } from "gpt2/dom.js";
import { copyButton } from "gpt2/copy.js";
import { asCurl, asPython } from "gpt2/playground/request.js";

/**
 * Return the request as programs make it.
 * @param {() => Object<string, any>} request
 * @param {boolean} needsKey
 */
export function elsewhere(request, needsKey) {
  const writers = { curl: asCurl, Python: asPython };
  const views = Object.entries(writers).map(([name, writer]) => {
    const code = create("code");
    const copy = copyButton(() => code.textContent, code);
    const heading = create("p", { class: "code-title" }, name, " ", copy);
    const box = scrollBox(`The request as ${name}`, create("pre", {}, code));
    const show = () => (code.textContent = writer(location.origin, request(), needsKey));
    return { show, view: create("div", {}, heading, box) };
  });
  const summary = create("summary", {}, "The same as a request");
  const shown = views.map(({ view }) => view);
  const element = create("details", { ontoggle: update }, summary, ...shown);

  function update() {
    if (element.open) for (const { show } of views) show();
  }

  return { element, update };
}
