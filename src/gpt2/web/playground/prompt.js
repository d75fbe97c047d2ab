// What is to be continued? A text that the reader writes, and how many tokens it has.

import { withCommas } from "gpt2/amounts.js";
import { ask } from "gpt2/ask.js";
import { create } from "gpt2/dom.js";
import { counted, fullContext } from "gpt2/playground/words.js";

const PAUSE = 300; // milliseconds without a key, after which tokens are counted

/**
 * Return the field of the text to continue.
 * @param {() => {name: string, most_tokens: number}} model that counts its tokens
 * @param {string[]} examples
 * @param {() => void} onChange
 */
export function promptField(model, examples, onChange) {
  const id = "playground-text";
  const count = create("output", { class: "muted", for: id, id: `${id}-count`, "aria-live": "off" });
  const input = create("textarea", {
    id,
    rows: 6,
    dir: "auto",
    "aria-describedby": count.id, // read with the field, not at each pause of typing
    spellcheck: "false",
    placeholder: "Write the beginning of a text …",
    oninput: () => changed(),
  });
  const known = new Map(); // ids of the text that is there, by model
  let timer = 0;
  let latest = 0;

  /** Return the ids of the text's tokens, as a model has them. */
  async function ids(name) {
    const text = input.value;
    if (!known.has(name)) {
      const { tokens } = await ask("/tokenize", { model: name, prompt: text });
      if (input.value !== text) return tokens;
      known.set(name, tokens);
    }
    return known.get(name);
  }

  async function show() {
    const turn = ++latest;
    const { name, most_tokens: most } = model();
    const tokens = await ids(name).catch(() => null);
    if (turn !== latest) return;
    count.textContent = tokens === null ? "" : room(tokens.length, most);
    onChange();
  }

  function changed() {
    known.clear();
    clearTimeout(timer);
    timer = setTimeout(show, PAUSE);
    onChange();
  }

  function set(text) {
    input.value = text;
    changed();
    input.focus();
    input.setSelectionRange(text.length, text.length);
    input.scrollTop = input.scrollHeight;
  }

  const buttons = examples.map((text) => create("button", { onclick: () => set(text) }, text));
  const chooser = { class: "text-chooser", role: "group", "aria-label": "Beginnings" };
  const element = create(
    "div",
    { class: "prompt" },
    create("label", { for: id }, "Your text"),
    ...(buttons.length ? [create("div", chooser, ...buttons)] : []),
    input,
    count,
  );
  return {
    element,
    text: () => input.value,
    ids,
    set,
    /** Return how many tokens there are, null while that is not known. */
    count: () => known.get(model().name)?.length ?? null,
    recount: show,
  };
}

function room(count, most) {
  if (count >= most) return `${counted(count, "token")}. ${fullContext(most)}`;
  if (count === 0) return "No text: the model begins a new one.";
  return `${counted(count, "token")}; ${withCommas(most - count)} more fit into the context of this model.`;
}
