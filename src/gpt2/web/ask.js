// How does a page ask its server? By fetch, with the key if the server wants one.

import { askKey } from "gpt2/key.js";

const KEY = "gpt2-api-key"; // in the tab's storage, which ends with the tab
const keys = new EventTarget();

/** An answer that is an error; `status` is that of HTTP, 0 where the server cannot be reached. */
export class AskError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/**
 * Return the server's answer to a request, from JSON.
 * @param {string} path
 * @param {object} [body] JSON to post; without one it is a GET
 * @param {AbortSignal} [signal] ends the request
 * @returns {Promise<any>}
 */
export async function ask(path, body, signal) {
  return (await answer(path, body, signal)).json();
}

/**
 * Return the server's answer to a GET, as a file.
 * @param {string} path
 * @returns {Promise<Blob>}
 */
export async function askFile(path) {
  return (await answer(path)).blob();
}

/**
 * Yield the server-sent events of an answer, each from JSON, up to [DONE] or its end.
 * @param {string} path
 * @param {object} [body] JSON to post; without one it is a GET
 * @param {AbortSignal} [signal] ends the request
 * @returns {AsyncGenerator<any>}
 */
export async function* events(path, body, signal) {
  const stream = (await answer(path, body, signal)).body.pipeThrough(new TextDecoderStream());
  let waiting = "";
  for await (const text of readAll(stream)) {
    const lines = (waiting + text).split("\n");
    waiting = lines.pop();
    for (const line of lines) {
      if (line === "data: [DONE]") return;
      if (line.startsWith("data: ")) yield JSON.parse(line.slice(6));
    }
  }
}

async function* readAll(stream) {
  const reader = stream.getReader(); // Safari's streams cannot be iterated
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {}); // a broken stream has raised its error already
  }
}

/**
 * Call a listener whenever the reader gives a key: what failed without one may be asked for again.
 * @param {() => void} listener
 */
export function whenKeyGiven(listener) {
  keys.addEventListener("given", listener);
}

async function answer(path, body, signal) {
  const key = sessionStorage.getItem(KEY);
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  const post = { method: "POST", body: JSON.stringify(body) };
  if (body) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { headers, signal, ...(body && post) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new AskError("The server cannot be reached.", 0);
  }
  if (response.ok) return response;
  if (response.status === 401 && (await hasOtherKey(key))) return answer(path, body, signal);
  const wrong = await response.json().catch(() => null);
  throw new AskError(wrong?.error?.message ?? response.statusText, response.status);
}

/** Return whether there is another key than one that the server has refused. */
async function hasOtherKey(refused) {
  if (sessionStorage.getItem(KEY) !== refused) return true; // another request has asked meanwhile
  const given = await askKey(refused !== null);
  if (!given) return false;
  sessionStorage.setItem(KEY, given);
  keys.dispatchEvent(new Event("given"));
  return true;
}
