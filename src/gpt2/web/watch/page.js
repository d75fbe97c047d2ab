// What is on the page of runs that train? Their state, curves, samples and moments, live.

import { announce } from "gpt2/announce.js";
import { create } from "gpt2/dom.js";
import { askKey } from "gpt2/watch/key.js";
import { layOut } from "gpt2/watch/layout.js";
import { follow } from "gpt2/watch/live.js";
import { askHistory } from "gpt2/watch/moments.js";
import { newsOf } from "gpt2/watch/news.js";
import { takeEvent } from "gpt2/watch/runs.js";

const PATH = "/run"; // of the server

/** Fill the page from the data inside it, and from its server while that has news. */
export function showPage() {
  const page = readData("page");
  const runs = page.runs.map((run) => ({ ...run, state: null, isHidden: false }));
  const history = page.live ? askHistory(`${PATH}/history`) : readHistory;
  const { update, notice } = layOut(page, runs, history, page.live ? `${PATH}/file` : null);
  const take = (run, event) => {
    const before = run.state && { ...run.state };
    update(takeEvent(run, event));
    const news = newsOf(run, before);
    if (news) announce(news);
  };
  if (page.live) followRuns(runs, notice, take);
  else runs.forEach((run) => take(run, { kind: "all", state: readData(`run-${run.id}`) }));
}

function followRuns(runs, notice, take) {
  const connection = create("p", { class: "muted" }, "Asking the server …");
  notice.append(connection);
  const onEvent = (event) => {
    const run = runs.find(({ id }) => id === event.run);
    if (run) take(run, event);
  };
  const onConnection = (message) => {
    connection.textContent = message && `${message} The page tries again by itself.`;
  };
  follow(`${PATH}/events`, { onEvent, onConnection, onKeyWanted: () => askKey(notice) });
}

async function readHistory({ id }) {
  return readData(`history-${id}`);
}

function readData(id) {
  const element = document.getElementById(id);
  return element && JSON.parse(element.textContent);
}
