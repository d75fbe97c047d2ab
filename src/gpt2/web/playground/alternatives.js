// What else could have come in a token's place? A list beside it, from which the text can go on.

import { create, setStyle } from "gpt2/dom.js";
import { shareOf } from "gpt2/playground/words.js";
import { percent, predicted, quoted, written } from "gpt2/wording.js";

const GAP = 4; // pixels between token and list
const MARGIN = 8; // pixels to the edges of the frame

/**
 * Return the list of a token's alternatives. It follows the pointer until it is pinned; then its
 * alternatives can be chosen.
 * @param {object} data
 * @param {HTMLElement} data.frame in which it is placed
 * @param {(string | null)[]} data.vocabulary
 * @param {(i: number, id: number) => void} data.onChoose
 * @param {() => void} data.onClose called to take the focus when Escape leaves it
 */
export function alternatives({ frame, vocabulary, onChoose, onClose }) {
  const heading = create("p", { class: "alternatives-title" });
  const list = create("ol", { class: "bars" });
  const hint = create("p", { class: "muted" });
  const element = create(
    "div",
    {
      class: "alternatives",
      role: "group",
      "aria-label": "Alternatives",
      hidden: true,
      inert: true,
      onkeydown: pressed,
      onmousedown: (event) => event.preventDefault(), // else Safari takes the focus from a button
      onfocusout: (event) => element.contains(event.relatedTarget) || hide(),
    },
    heading,
    list,
    hint,
  );
  let pinned = false;

  function pressed(event) {
    const buttons = [...list.querySelectorAll("button")];
    const at = buttons.indexOf(document.activeElement);
    const to = { ArrowUp: at - 1, ArrowDown: at + 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (event.key === "Escape") {
      event.stopPropagation(); // it stops no writing
      onClose();
    }
    if (to === undefined) return;
    event.preventDefault();
    buttons[Math.max(0, Math.min(buttons.length - 1, to))].focus();
  }

  /** Show the alternatives of token `i`, whose element is `span`. */
  function show(token, i, span, pin) {
    pinned = pin;
    const name = (id) => predicted(vocabulary[id], id);
    const { id: chosen, logProbability } = token;
    heading.replaceChildren(
      create("bdi", {}, quoted(name(chosen))),
      create("strong", {}, shareOf(logProbability)),
      create("small", { class: "muted" }, `id ${chosen}${nats(logProbability)}`),
    );
    const entries = token.likeliest.map(([id, log]) => entry(name(id), log, id === chosen));
    list.replaceChildren(...entries.map(({ item }) => item));
    entries.forEach(({ button }, k) => {
      button.addEventListener("click", () => onChoose(i, token.likeliest[k][0]));
    });
    hint.textContent = hintOf(entries.length, pin);
    element.hidden = false;
    element.inert = !pin;
    element.classList.toggle("pinned", pin);
    place(element, frame, span);
  }

  function hide() {
    pinned = false;
    element.hidden = element.inert = true;
  }

  return {
    element,
    show,
    hide,
    isPinned: () => pinned,
    focus: () => list.querySelector("button")?.focus(),
  };
}

function entry(name, logProbability, isChosen) {
  const share = Math.exp(logProbability);
  const fill = create("span", { class: "bar-fill" });
  setStyle(fill, { share });
  const button = create(
    "button",
    { "aria-current": String(isChosen) },
    create("bdi", { class: "bar-token" }, name),
    " ",
    create("span", { class: "bar-track" }, fill),
    " ",
    create("span", { class: "bar-share" }, percent(share)),
  );
  return { button, item: create("li", {}, button) };
}

function nats(logProbability) {
  return logProbability === null ? "" : `, ${written(logProbability)} nats`;
}

function hintOf(count, isPinned) {
  if (!count) return "Its probability is known only where the model wrote it.";
  return isPinned ? "Choose one: the text goes on from it." : "Click it, or press Enter, to choose another.";
}

/** Put the list under the token's last line, or above its first where it fits there alone. */
function place(element, frame, span) {
  const box = frame.getBoundingClientRect();
  const lines = [...span.getClientRects()];
  if (!lines.length) lines.push(span.getBoundingClientRect());
  const [first, last] = [lines[0], lines.at(-1)];
  const height = element.offsetHeight + GAP;
  const isAbove = last.bottom + height > innerHeight && first.top > height;
  const top = isAbove ? first.top - height : last.bottom + GAP;
  const left = Math.min(last.left - box.left, box.width - element.offsetWidth - MARGIN);
  setStyle(element, { left: `${Math.max(MARGIN, left)}px`, top: `${top - box.top}px` });
}
