// How is a text shown while it is written? As it reads, each token a place to point at.

import { create, setStyle } from "gpt2/dom.js";
import { textOf } from "gpt2/playground/draft.js";
import { shareOf } from "gpt2/playground/words.js";
import { predicted, quoted } from "gpt2/wording.js";

let flows = 0; // on the page, so that the ids of their tokens differ

/**
 * Return running text, of whose tokens pointer, tap and keys choose one. It is one stop of the tab
 * key; arrow keys move from token to token.
 * @param {object} data
 * @param {string} data.name
 * @param {(string | null)[]} data.vocabulary
 * @param {(i: number | null) => void} data.onPoint called with the token under pointer or keys
 * @param {(i: number) => void} data.onOpen called with a token that is clicked, or Enter pressed on
 */
export function flow({ name, vocabulary, onPoint, onOpen }) {
  const number = flows++;
  const spans = [];
  let draft = null;
  let done = 0; // tokens whose text is known to its end
  let active = -1; // the token that the keys are on
  const bits = Math.log2(vocabulary.length); // where all tokens are equally likely
  const element = create("span", {
    class: "flow",
    role: "listbox",
    tabindex: 0,
    "aria-label": name,
    hidden: true,
    onkeydown: pressed,
    onfocus: () => onPoint(activate(active < 0 ? 0 : active)),
    onblur: () => onPoint(null),
    onpointerover: (event) => event.pointerType !== "touch" && onPoint(indexOf(event.target)),
    onpointerleave: () => onPoint(hasFocus() && active >= 0 ? active : null),
    onclick: (event) => {
      const i = indexOf(event.target);
      if (i !== null) onOpen(activate(i));
    },
  });

  function hasFocus() {
    return document.activeElement === element;
  }

  function pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") return onPoint(null); // what covers the text goes
    const last = spans.length - 1;
    const to = {
      ArrowLeft: active - 1,
      ArrowUp: active - 1,
      ArrowRight: active + 1,
      ArrowDown: active + 1,
      PageUp: active - 10,
      PageDown: active + 10,
      Home: 0,
      End: last,
      Enter: active,
      " ": active,
    }[event.key];
    if (to === undefined || last < 0) return;
    event.preventDefault();
    if (event.key === "Enter" || event.key === " ") return onOpen(activate(Math.max(0, active)));
    onPoint(activate(Math.max(0, Math.min(last, to))));
    spans[active].scrollIntoView({ block: "nearest" });
  }

  function activate(i) {
    if (!spans.length) return null;
    spans[active]?.setAttribute("aria-selected", "false");
    active = Math.min(i, spans.length - 1);
    spans[active].setAttribute("aria-selected", "true");
    element.setAttribute("aria-activedescendant", spans[active].id);
    return active;
  }

  function indexOf(target) {
    const i = spans.indexOf(target);
    return i < 0 ? null : i;
  }

  function tokenSpan(token, i) {
    const { id, logProbability } = token;
    const span = create("span", {
      class: "token-text",
      role: "option",
      id: `flow-${number}-${i}`,
      "aria-selected": "false",
      "aria-label": `${quoted(predicted(vocabulary[id], id))}, ${shareOf(logProbability)}`,
    });
    const surprise = Math.min(1, -(logProbability ?? 0) / Math.LN2 / bits);
    setStyle(span, { surprise: surprise.toFixed(3) });
    return span;
  }

  function update() {
    const { tokens, characters } = draft;
    for (let i = done; i < tokens.length; i++) {
      if (!spans[i]) element.append((spans[i] = tokenSpan(tokens[i], i)));
      const text = textOf(draft, i);
      if (spans[i].textContent !== text) spans[i].textContent = text;
      spans[i].classList.toggle("breaks", text.startsWith("\n"));
      spans[i].classList.toggle("no-text", text === "");
    }
    element.hidden = tokens.length === 0;
    while (done < tokens.length - 1 && tokens[done + 1].start <= characters.length) done++;
  }

  function show(changed, kept) {
    draft = changed;
    for (const span of spans.splice(kept)) span.remove();
    done = 0;
    update();
    if (active < kept) return;
    active = -1;
    element.removeAttribute("aria-activedescendant");
    activate(kept); // where it differs from what was shown
  }

  return {
    element,
    /** Show what has been added to the draft. */
    update,
    /** Show another draft, whose first `kept` tokens are those that are shown. */
    show,
    /** Return the element of a token. */
    spanOf: (i) => spans[i],
  };
}
