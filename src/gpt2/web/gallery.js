// What is on the page of a gallery? Its sections, from the data that the page holds.

import { create } from "gpt2/dom.js";
import { introduction, readData, section, showFrame } from "gpt2/frame.js";
import { showTexts } from "gpt2/inside.js";
import { showPictures } from "gpt2/pictures.js";
import { showTime } from "gpt2/time.js";

const LEAD =
  "What this model is, drawn from its own weights. The page is one file, and asks nothing of any " +
  "network.";
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
  showFrame({
    brand: "GPT-2 from the inside",
    introduction: introduction(page.model, LEAD),
    sections,
    ending: create("p", {}, "This page is made by ", create("code", {}, page.command)),
  });
}
