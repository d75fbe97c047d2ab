// What does the residual stream hold? A vector for each token, before, between and after the blocks.

import { create } from "gpt2/dom.js";
import { colorScale, matrix } from "gpt2/matrix.js";
import { part } from "gpt2/packed.js";
import { limitOf } from "gpt2/products.js";
import { whenSeen } from "gpt2/seen.js";
import { written } from "gpt2/wording.js";

const ROW_HEIGHT = 14; // pixels

/**
 * Show the hidden states of a text as a matrix, a row a token, at the place that is chosen.
 * @param {import("gpt2/inside.js").OpenedText} text
 * @param {string[]} colors of signed values, the lowest first
 * @param {import("gpt2/choice.js").Choice} choice
 */
export function showStream(text, colors, choice) {
  const [, T, C] = text.stream.shape;
  const places = [...text.layers, "after ln_f, which the head reads"];
  const select = create(
    "select",
    { onchange: chosen },
    ...places.map((place, i) => create("option", { value: i }, place)),
  );
  select.value = String(choice.chosen.place ?? 0);
  const content = create("div");
  let shown = null; // the matrix, made when it comes near the screen

  function dataOf(place) {
    const { values } = part(text.stream, place);
    const limit = limitOf(values);
    return { title: `Hidden states, ${places[place]}`, values, low: -limit, high: limit };
  }

  function chosen() {
    choice.set({ place: Number(select.value) });
    show();
  }

  function show() {
    const data = dataOf(Number(select.value));
    const { low, high } = data;
    if (shown) {
      shown.show(data);
      content.lastChild.replaceWith(colorScale(colors, written(low), written(high)));
      return;
    }
    const cell = [Math.max(1, Math.min(5, Math.floor((content.clientWidth - 90) / C))), ROW_HEIGHT];
    const axes = { rows: T, columns: C, rowName: "token", columnName: "channel" };
    shown = matrix({ ...data, ...axes, rowLabels: text.tokens, colors, cell });
    content.replaceChildren(shown.element, colorScale(colors, written(low), written(high)));
    choice.follow(["token"], ({ token }) => shown.mark(token, null));
  }

  whenSeen(content, () => show())();
  return create("div", {}, create("p", {}, create("label", {}, "Place ", select)), content);
}
