// How do texts come from the server? In one stream for each request, which feeds its sheets.

import { AskError, events } from "gpt2/ask.js";

/**
 * @typedef {object} Sheet one text on the page
 * @property {(leave: () => void) => void} begin an answer comes; `leave` stops listening to it
 * @property {(choice: any) => void} receive a part of it
 * @property {(trouble: string | null) => void} end nothing more comes
 */

/**
 * Make a request and feed each sheet the choice of its number, until the answer ends. A sheet may
 * leave before; when all have left, the connection is closed, and the server stops.
 * @param {Sheet[]} sheets
 * @param {object} request
 */
export async function streamTexts(sheets, request) {
  const controller = new AbortController();
  const listening = new Set(sheets);
  const leave = (sheet) => {
    listening.delete(sheet);
    if (!listening.size) controller.abort();
  };
  for (const sheet of sheets) sheet.begin(() => leave(sheet));
  const trouble = await feed(sheets, listening, request, controller.signal);
  for (const sheet of [...listening]) sheet.end(trouble);
}

async function feed(sheets, listening, request, signal) {
  try {
    for await (const choice of choices(request, signal)) {
      const sheet = sheets[choice.index];
      if (!listening.has(sheet)) continue;
      sheet.receive(choice);
      if (!choice.finish_reason) continue;
      listening.delete(sheet);
      sheet.end(null);
    }
    return "The answer broke off before its end.";
  } catch (error) {
    if (error.name === "AbortError") return null;
    if (error instanceof AskError) return error.message;
    return "The connection to the server was lost.";
  }
}

async function* choices(request, signal) {
  for await (const chunk of events("/v1/completions", request, signal)) {
    if (chunk.error) throw new AskError(chunk.error.message, 0);
    yield* chunk.choices;
  }
}
