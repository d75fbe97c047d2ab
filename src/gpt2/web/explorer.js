// What is on the page of a server? A playground, a look inside any text, and pictures.

import { ask } from "gpt2/ask.js";
import { create } from "gpt2/dom.js";
import { showLive } from "gpt2/explorer/live.js";
import { showLivePictures } from "gpt2/explorer/pictures.js";
import { introduction, readData, section, showFrame } from "gpt2/frame.js";
import { showPlayground } from "gpt2/playground/playground.js";

const LEAD = "Play with this model, and look inside it. All of it runs on the server of this page.";
const PLAYGROUND =
  "Write the beginning of a text: the model continues it, token by token. Each time it gives every " +
  "token of its vocabulary a probability, and one of them is drawn.";
const INSIDE =
  "Type any text. What the model computes for it is shown as you type, with its true values: " +
  "where each head looks, how, and which token comes next.";
const PICTURES =
  "What the weights hold, drawn by the server. Choose one to read what it shows and how it is made.";

/** Fill the page from the data inside it. */
export function showPage() {
  const page = readData("page");
  if (!page) return; // the modules alone, for their tests
  const { models, colors, examples, needsKey } = page;
  const model = models[0].name;
  const vocabularyOf = onceEach(async (name) => {
    const query = `model=${encodeURIComponent(name)}`;
    return (await ask(`/explore/vocabulary?${query}`)).vocabulary;
  });
  let [play, live, pictures] = [null, null, null];
  const sections = [
    section("playground", "Playground", PLAYGROUND, (element) => {
      play = showPlayground(element, { models, colors, examples, vocabularyOf, needsKey, showInside });
    }),
    section("inside", "Inside a text", INSIDE, (element) => {
      live = showLive(element, { model, colors, examples, vocabularyOf });
    }),
    section("pictures", "Pictures", PICTURES, (element) => {
      pictures = showLivePictures(element, model);
    }),
  ];
  let head = introduction(models[0], LEAD);

  function showInside(text) {
    live.show(text);
    const inside = document.getElementById("inside");
    inside.scrollIntoView();
    inside.focus({ preventScroll: true });
  }

  function choose(index) {
    const next = introduction(models[index], LEAD);
    head.replaceWith(next);
    head = next;
    play.setModel(models[index].name);
    live.setModel(models[index].name);
    pictures.setModel(models[index].name);
  }

  showFrame({
    brand: "GPT-2 from the inside",
    introduction: head,
    sections,
    ending: links(page),
    tools: models.length > 1 ? [modelChooser(models, choose)] : [],
  });
}

/** Return a function whose result for each argument is asked for once, until it is there. */
function onceEach(find) {
  const found = new Map();
  return (name) => {
    if (!found.has(name)) {
      const answer = find(name);
      found.set(name, answer);
      answer.catch(() => found.delete(name));
    }
    return found.get(name);
  };
}

function modelChooser(models, choose) {
  const options = models.map(({ name }, i) => create("option", { value: i }, name));
  const onchange = () => choose(Number(select.value));
  const select = create("select", { onchange, "aria-label": "Model", autocomplete: "off" }, ...options);
  return select;
}

function links({ hasRun, needsKey }) {
  const run = hasRun ? [["/run", "The run of this model, live"]] : [];
  const data = [
    ["/openapi.json", "The API (OpenAPI)"],
    ["/metrics", "Metrics"],
    ["/v1/models", "Models"],
  ]; // which no link can send a key to
  const all = [...run, ...(needsKey ? [] : data)].map(([href, name]) => create("li", {}, create("a", { href }, name)));
  return create("ul", { class: "links" }, ...all);
}
