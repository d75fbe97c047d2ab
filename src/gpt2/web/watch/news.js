// What does a screen reader learn of a run without being asked? Evaluations, a fault, and its end.

import { withCommas } from "gpt2/amounts.js";
import { verdictOf } from "gpt2/watch/verdict.js";

/**
 * Return what is new of a run in a sentence; "" if nothing has to be said.
 * @param {import("gpt2/watch/runs.js").Run} run
 * @param {object | null} before its state, shallow
 */
export function newsOf({ name, state }, before) {
  if (!before || !state) return "";
  const phase = state.status.phase;
  if (phase !== before.status.phase && phase !== "training") {
    return `${name}: ${phase} at step ${withCommas(state.status.step)}`;
  }
  const { place, text } = verdictOf(state);
  if (place === "faulty") return verdictOf(before).place === place ? "" : `${name}: ${text}`;
  const [last, old] = [state, before].map(({ held_out: evaluations }) => evaluations.at(-1));
  if (!last || last.val_loss == null || last.step <= (old?.step ?? 0)) return "";
  const loss = `held-out loss ${last.val_loss.toFixed(3)} at step ${withCommas(last.step)}`;
  return place === "unknown" ? `${name}: ${loss}` : `${name}: ${text}`;
}
