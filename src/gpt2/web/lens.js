// What would the model predict if it ended after each block? The logit lens.

import { announce } from "gpt2/announce.js";
import { create, scrollBox } from "gpt2/dom.js";
import { part } from "gpt2/packed.js";
import { whenSeen } from "gpt2/seen.js";
import { tint } from "gpt2/tokens.js";
import { percent, predicted, quoted } from "gpt2/wording.js";

/**
 * Show the likeliest next token after each block, for each token.
 * @param {import("gpt2/inside.js").OpenedText} text
 * @param {(string | null)[]} vocabulary
 * @param {string[]} colors of probabilities, 0 first
 * @param {import("gpt2/choice.js").Choice} choice
 */
export function showLens(text, vocabulary, colors, choice) {
  const { layers } = text;
  const { ids, probabilities } = text.lens;
  const top = create("ol", { class: "lens-top" });
  const heading = create("p");
  const cells = layers.map((_, layer) => text.tokens.map((_, token) => lensCell(layer, token)));
  let focused = [layers.length - 1, text.tokens.length - 1];

  function likeliest(layer, token) {
    const shares = part(probabilities, layer, token).values;
    return [...part(ids, layer, token).values].map((id, i) => ({
      text: predicted(vocabulary[id], id),
      share: shares[i],
    }));
  }

  function lensCell(layer, token) {
    const [first] = likeliest(layer, token);
    const cell = create(
      "td",
      { tabindex: -1, onfocus: () => read(layer, token), onpointerenter: () => read(layer, token) },
      create("bdi", {}, first.text),
    );
    tint(cell, colors, first.share);
    return cell;
  }

  function point(layer, token) {
    cells[focused[0]][focused[1]].tabIndex = -1;
    focused = [layer, token];
    cells[layer][token].tabIndex = 0;
    heading.textContent = `At token ${token} ${quoted(text.tokens[token])}, ${layers[layer]}:`;
    const items = likeliest(layer, token).map(({ text, share }) =>
      create("li", {}, create("bdi", {}, text), ` ${percent(share)}`),
    );
    top.replaceChildren(...items);
  }

  function read(layer, token) {
    point(layer, token);
    const items = [...top.children].map((item) => item.textContent);
    announce(`${heading.textContent} ${items.join(", ")}`);
  }

  function pressed(event) {
    const [layer, token] = focused;
    const next = {
      ArrowUp: [layer - 1, token],
      ArrowDown: [layer + 1, token],
      ArrowLeft: [layer, token - 1],
      ArrowRight: [layer, token + 1],
    }[event.key];
    if (!next) return;
    event.preventDefault();
    cells[next[0]]?.[next[1]]?.focus();
  }

  const columns = text.tokens.map((token, i) =>
    create(
      "th",
      { scope: "col", "data-token": i },
      create("span", { class: "unseen" }, `${i} `), // the token may be a space alone
      create("bdi", {}, token),
    ),
  );
  const rows = layers.map((layer, i) =>
    create("tr", {}, create("th", { scope: "row" }, layer), ...cells[i]),
  );
  const table = create(
    "table",
    { class: "lens", onkeydown: pressed },
    create("caption", { class: "unseen" }, "The likeliest next token after each block"),
    create("thead", {}, create("tr", {}, create("td"), ...columns)),
    create("tbody", {}, ...rows),
  );
  const box = scrollBox("Logit lens, a row a layer, a column a token", table);
  const showChosen = () => {
    const { token } = choice.chosen;
    columns.forEach((column, i) => column.classList.toggle("chosen", i === token));
    point(focused[0], token);
    box.scrollLeft = columns[token].offsetLeft - box.clientWidth / 2;
  };
  choice.follow(["token"], whenSeen(table, showChosen));
  return create(
    "div",
    { class: "side-by-side" },
    box,
    create("div", { class: "lens-panel" }, heading, top),
  );
}
