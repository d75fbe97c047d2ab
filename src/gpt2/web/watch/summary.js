// How is a run doing? Its phase, how far it is, and whether its loss is normal.

import { create } from "gpt2/dom.js";
import { percent } from "gpt2/wording.js";
import { duration, roughly, withCommas } from "gpt2/amounts.js";
import { lineSample } from "gpt2/watch/look.js";
import { verdictOf } from "gpt2/watch/verdict.js";

const SIGNS = { within: "✓", above: "↑", below: "↓", unknown: "", faulty: "!" };

/**
 * Return a card that says how a run is doing.
 * @param {import("gpt2/watch/runs.js").Run} run
 * @param {import("gpt2/watch/look.js").Look} look
 * @param {"h1" | "h2"} heading
 * @param {boolean} live whether it is not a file of what was known once
 * @returns {{element: HTMLElement, update: () => void}}
 */
export function runCard(run, look, heading, live) {
  const phase = create("span", { class: "phase" }, "not known yet");
  const place = create("p", { class: "place" }, " ");
  const bar = create("progress", { max: 1, value: 0, "aria-label": `Progress of ${run.name}` });
  const verdict = create("p", { class: "verdict" });
  const facts = create("dl", { class: "facts" });
  const notes = create("ul", { class: "notes" });
  const sample = heading === "h2" ? [lineSample(look)] : [];
  const name = create(heading, {}, ...sample, run.name);
  const head = create("div", { class: "run-head" }, name, phase);
  const element = create("article", { class: "run" }, head, bar, place, verdict, facts, notes);
  if (run.directory !== run.name) head.after(create("p", { class: "muted path" }, run.directory));

  function update() {
    if (!run.state) return;
    const { status } = run.state;
    phase.dataset.phase = status.phase;
    write(phase, phaseText(status, live));
    bar.value = status.steps ? status.step / status.steps : 0;
    write(place, placeText(status, live));
    const { place: side, text } = verdictOf(run.state);
    verdict.dataset.place = side;
    write(verdict, text);
    if (SIGNS[side]) verdict.prepend(create("span", { "aria-hidden": "true" }, SIGNS[side]));
    showFacts(facts, factsOf(run.state));
    showNotes(notes, notesOf(run.state));
  }

  return { element, update };
}

/** Change a text only if it is another: a screen reader and a selection stay where they are. */
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function phaseText({ phase, silent_seconds: silent }, live) {
  if (!live && phase !== "ended") return "not ended when this was saved";
  if (phase === "silent") return `silent for ${duration(silent ?? 0)}`;
  return phase === "waiting" ? "waiting for its first step" : phase;
}

function placeText({ phase, step, steps, seconds_left: left }, live) {
  if (!steps) return phase === "waiting" ? "No config.toml is there yet." : "";
  const place = `Step ${withCommas(step)} of ${withCommas(steps)}`;
  if (phase === "ended" || left == null || step >= steps) return place;
  return live && phase === "training" ? `${place}, about ${duration(left)} left` : place;
}

function factsOf({ rows, held_out: evaluations, settings, status }) {
  const tokens = rows.findLast((row) => row.tokens != null)?.tokens;
  const facts = [
    ["training loss", lossText(rows.at(-1)?.loss)],
    ["held-out loss", lossText(evaluations.at(-1)?.val_loss)],
    ["tokens a second", status.tokens_per_second, roughly],
    ["of peak FLOP/s", status.mfu, percent],
    ["tokens read", tokens, roughly],
    ["tokens a step", settings.batch_tokens, withCommas],
    ["parameters", settings.parameters, roughly],
  ];
  const known = facts.filter(([, value]) => value != null);
  return known.map(([name, value, as = String]) => [name, as(value)]);
}

/** Write a loss; null is one that was not finite. */
function lossText(loss) {
  return loss === null ? "not finite" : loss?.toFixed(3);
}

function showFacts(list, facts) {
  const names = facts.map(([name]) => name).join();
  if (list.dataset.names !== names) {
    list.dataset.names = names;
    const parts = facts.map(([name]) =>
      create("div", {}, create("dt", {}, name), create("dd", {})),
    );
    list.replaceChildren(...parts);
  }
  facts.forEach(([, text], i) => write(list.children[i].lastChild, text));
}

/** Return what is out of the ordinary: steps that were skipped, other settings, damaged files. */
function notesOf({ skipped, changes = [], notes = [] }) {
  const last = skipped.at(-1);
  const skips = skipped.length === 1 ? "1 step was" : `${withCommas(skipped.length)} steps were`;
  const why = "its loss or gradient norm was not finite";
  const changed = changes
    .filter(({ changed }) => Object.keys(changed).length)
    .map(({ step, changed }) => `From step ${withCommas(step)} on: ${settingsText(changed)}.`);
  const unsound = last ? [`${skips} skipped, the last at step ${withCommas(last)}: ${why}.`] : [];
  return [...unsound, ...changed, ...notes];
}

function settingsText(changed) {
  const parts = Object.entries(changed).map(([name, [from, to]]) => `${name} ${from} → ${to}`);
  return parts.join(", ");
}

function showNotes(list, notes) {
  const written = JSON.stringify(notes);
  if (list.dataset.notes === written) return;
  list.dataset.notes = written;
  list.hidden = !notes.length;
  list.replaceChildren(...notes.map((note) => create("li", {}, note)));
}
