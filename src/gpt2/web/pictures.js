// How are all pictures shown small, each a link to itself shown large?

import { create } from "gpt2/dom.js";
import { lightbox } from "gpt2/lightbox.js";

/**
 * Fill a section with a card for each picture. The address #NAME opens one large.
 * @param {HTMLElement} section
 * @param {import("gpt2/lightbox.js").Picture[]} first pictures that there are at first
 * @returns {{add: (picture: import("gpt2/lightbox.js").Picture) => void, clear: () => void}}
 */
export function showPictures(section, first) {
  const pictures = [];
  const cards = create("div", { class: "cards" });
  const large = lightbox(pictures, (index) => cards.children[index]?.focus());
  section.append(cards, large.dialog);
  const follow = () => large.show(pictures.findIndex(({ name }) => `#${name}` === location.hash));
  addEventListener("hashchange", follow);

  function add(picture) {
    pictures.push(picture);
    cards.append(card(picture));
    // The section may not be in the document yet, where alone a dialog can open.
    if (`#${picture.name}` === location.hash) queueMicrotask(follow);
  }

  function clear() {
    large.show(-1);
    pictures.length = 0;
    cards.replaceChildren();
  }

  first.forEach(add);
  return { add, clear };
}

function card(picture) {
  const image = create("img", {
    src: picture.image,
    alt: "",
    width: picture.width,
    height: picture.height,
  });
  return create(
    "a",
    { class: "card", href: `#${picture.name}` },
    create("div", { class: "paper" }, image),
    create("h3", {}, picture.title),
    create("p", {}, picture.description),
    create("code", { class: "in-print" }, picture.command),
  );
}
