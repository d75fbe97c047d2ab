// How are all pictures shown small, each a link to itself shown large?

import { create } from "gpt2/dom.js";
import { lightbox } from "gpt2/lightbox.js";

/**
 * Fill a section with a card for each picture. The address #NAME opens one large.
 * @param {HTMLElement} section
 * @param {import("gpt2/lightbox.js").Picture[]} pictures
 */
export function showPictures(section, pictures) {
  const cards = pictures.map(card);
  const large = lightbox(pictures, (index) => cards[index].focus());
  section.append(create("div", { class: "cards" }, ...cards), large.dialog);
  const follow = () => large.show(pictures.findIndex(({ name }) => `#${name}` === location.hash));
  addEventListener("hashchange", follow);
  // The section is not in the document yet, where alone a dialog can open.
  queueMicrotask(follow);
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
