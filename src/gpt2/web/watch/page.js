// What is on the page of runs that train? Their state, curves, samples and moments, live.

import { announce } from "gpt2/announce.js";
import { ask } from "gpt2/ask.js";
import { readData } from "gpt2/frame.js";
import { layOut } from "gpt2/watch/layout.js";
import { follow } from "gpt2/watch/live.js";
import { newsOf } from "gpt2/watch/news.js";
import { takeEvent } from "gpt2/watch/runs.js";

/** Fill the page from the data inside it, and from its server while that has news. */
export function showPage() {
  const page = readData("page");
  if (!page) return; // the modules alone, for their tests
  const runs = page.runs.map((run) => ({ ...run, state: null, isHidden: false }));
  const { update, notice } = layOut(page, runs, page.live ? askHistory : readHistory);
  const take = (run, event) => {
    const before = run.state && { ...run.state };
    update(takeEvent(run, event));
    const news = newsOf(run, before);
    if (news) announce(news);
  };
  if (page.live) {
    follow("/run/events", notice, (event) => {
      const run = runs.find(({ id }) => id === event.run);
      if (run) take(run, event);
    });
  } else {
    runs.forEach((run) => take(run, { kind: "all", state: readData(`run-${run.id}`) }));
  }
}

function askHistory({ id }) {
  return ask(`/run/history?run=${encodeURIComponent(id)}`);
}

async function readHistory({ id }) {
  return readData(`history-${id}`);
}
