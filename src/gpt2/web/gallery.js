// What is on the page? Its sections, from the data that the page holds.

import { create } from "gpt2/dom.js";
import { showTexts } from "gpt2/inside.js";
import { showPictures } from "gpt2/pictures.js";
import { showTime } from "gpt2/time.js";
import { themeButton } from "gpt2/theme.js";

const PICTURES = "Choose one to read what it shows and how it is made.";
const TEXTS =
  "What the model computes for a text, with its true values: where each head looks, how, and " +
  "which token comes next.";
const LOSS = "How the loss fell. This run has kept no moments, over which there would be a slider.";
const TRAINING = "Move the slider to see how the model became what it is.";

/** Fill the page from the data inside it. */
export function showPage() {
  const page = readData("page");
  if (!page) return; // the modules alone, for their tests
  const sections = [
    section("pictures", "Pictures", PICTURES, (element) => showPictures(element, page.pictures)),
    section("texts", "Inside a text", TEXTS, (element) =>
      showTexts(element, page, (index) => readData(`text-${index}`)),
    ),
  ];
  if (page.hasRun) {
    const run = readData("run");
    const lead = run.moments ? TRAINING : LOSS;
    const fill = (element) => showTime(element, run, page.colors);
    sections.push(section("training", "Training", lead, fill));
  }
  const main = document.getElementById("main");
  main.before(create("a", { class: "skip", href: "#main" }, "Skip to the content"), bar(sections));
  main.append(introduction(page), ...sections);
  main.after(ending(page));
}

function readData(id) {
  const element = document.getElementById(id);
  return element && JSON.parse(element.textContent);
}

function bar(sections) {
  const links = sections.map(({ id, dataset }) =>
    create("li", {}, create("a", { href: `#${id}` }, dataset.title)),
  );
  const contents = create("nav", { "aria-label": "Contents" }, create("ul", {}, ...links));
  const name = create("a", { class: "brand", href: "#main" }, "GPT-2 from the inside");
  return create("header", { class: "bar" }, name, contents, themeButton());
}

function section(id, title, lead, fill) {
  const heading = create("h2", { id: `${id}-title` }, title);
  const attributes = { id, "aria-labelledby": heading.id, "data-title": title, tabindex: -1 };
  const element = create("section", attributes, heading, create("p", { class: "lead" }, lead));
  fill(element);
  return element;
}

function introduction({ model }) {
  const facts = [
    ["parameters", model.parameters],
    ["blocks", model.n_layer],
    ["heads a block", model.n_head],
    ["channels", model.n_embd],
    ["tokens of context", model.n_positions],
    ["tokens in its vocabulary", model.vocab_size],
  ].map(([name, count]) =>
    create("div", {}, create("dt", {}, name), create("dd", {}, count.toLocaleString("en"))),
  );
  const lead =
    "What this model is, drawn from its own weights. The page is one file, " +
    "and asks nothing of any network.";
  return create(
    "div",
    { class: "introduction" },
    create("h1", {}, model.name),
    create("p", { class: "lead" }, lead),
    create("dl", { class: "facts" }, ...facts),
  );
}

function ending(page) {
  const made = create("p", {}, "This page is made by ", create("code", {}, page.command));
  return create("footer", {}, made);
}
