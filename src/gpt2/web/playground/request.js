// What does a request for a text say? Its fields, and the same as curl and as Python.

/**
 * @typedef {object} Settings
 * @property {number} n texts beside each other
 * @property {number} max_tokens
 * @property {number} temperature
 * @property {number} top_p
 * @property {number} top_k 0 for all
 * @property {number} min_p
 * @property {number} repetition_penalty
 * @property {number} presence_penalty
 * @property {number} frequency_penalty
 * @property {number | null} seed null for a new one each time
 * @property {string[]} stop
 */

/** @type {Settings} what the server takes where a field is not given, max_tokens aside */
export const NEUTRAL = {
  n: 1,
  max_tokens: 64,
  temperature: 1,
  top_p: 1,
  top_k: 0,
  min_p: 0,
  repetition_penalty: 1,
  presence_penalty: 0,
  frequency_penalty: 0,
  seed: null,
  stop: [],
};
const ALWAYS = ["max_tokens", "temperature"]; // also where they are neutral
const NOT_OPENAI = ["top_k", "min_p", "repetition_penalty"]; // the client takes them as extra_body
const ALTERNATIVES = 5;
const STREAMED = {
  stream: true,
  logprobs: ALTERNATIVES,
  return_token_ids: true,
  return_tokens_as_token_ids: true, // alternatives by id: two may be written alike
};

/**
 * Return settings that ask for no more tokens than fit.
 * @param {Settings} settings
 * @param {number} room tokens that fit into the context after the text
 * @returns {Settings}
 */
export function within(settings, room) {
  return { ...settings, max_tokens: Math.min(settings.max_tokens, room) };
}

/**
 * Return a request that a reader may make elsewhere.
 * @param {string} model
 * @param {string} prompt
 * @param {Settings} settings
 * @returns {Object<string, any>}
 */
export function requestOf(model, prompt, settings) {
  const isSet = ([name, value]) =>
    ALWAYS.includes(name) || JSON.stringify(value) !== JSON.stringify(NEUTRAL[name]);
  return { model, prompt, ...Object.fromEntries(Object.entries(settings).filter(isSet)) };
}

/**
 * Return the request that the page makes: the same, streamed, with the exact tokens and what else
 * was likely.
 * @param {string} model
 * @param {number[]} ids
 * @param {Settings} settings
 */
export function streamedRequest(model, ids, settings) {
  return { ...requestOf(model, "", settings), ...STREAMED, prompt: ids.length ? ids : "" };
}

/**
 * Write a request as a command of a shell.
 * @param {string} origin of the server
 * @param {Object<string, any>} request
 * @param {boolean} needsKey
 */
export function asCurl(origin, request, needsKey) {
  const key = needsKey ? '  -H "Authorization: Bearer $GPT2_API_KEY" \\\n' : "";
  const json = JSON.stringify(request, null, 2).replaceAll("'", "'\\''");
  return (
    `curl ${origin}/v1/completions \\\n` +
    `  -H 'Content-Type: application/json' \\\n${key}  -d '${json}'`
  );
}

/**
 * Write a request as a program in Python that uses the openai package.
 * @param {string} origin of the server
 * @param {Object<string, any>} request
 * @param {boolean} needsKey
 */
export function asPython(origin, request, needsKey) {
  const entries = Object.entries(request);
  const extra = Object.fromEntries(entries.filter(([name]) => NOT_OPENAI.includes(name)));
  const known = entries.filter(([name]) => !NOT_OPENAI.includes(name));
  if (Object.keys(extra).length) known.push(["extra_body", extra]);
  const fields = known.map(([name, value]) => `    ${name}=${pythonOf(value)},\n`).join("");
  const key = needsKey ? 'os.environ["GPT2_API_KEY"]' : '"none"';
  return (
    `${needsKey ? "import os\n\n" : ""}from openai import OpenAI\n\n` +
    `client = OpenAI(base_url="${origin}/v1", api_key=${key})\n` +
    `answer = client.completions.create(\n${fields})\n` +
    "for choice in answer.choices:\n    print(choice.text)\n"
  );
}

/** Write a value of JSON without true, false and null, which Python spells the same way. */
function pythonOf(value) {
  return JSON.stringify(value);
}
