// What is known of a text that is being written? Its tokens, how likely each was, and its end.

/**
 * @typedef {object} Token
 * @property {number} id
 * @property {number | null} logProbability the model's own, in nats; null if the reader wrote it
 * @property {[number, number][]} likeliest ids and log-probabilities, the likeliest first
 * @property {number} start of its text, in characters of the new text
 *
 * @typedef {object} Draft a text: what was given, and what the model has added
 * @property {string} prompt
 * @property {number[]} promptIds
 * @property {Token[]} tokens
 * @property {string[]} characters of the new text; emoji are one
 * @property {string} tail characters after those of the tokens: a stop string cut their token
 * @property {string | null} reason why it ended; null while it is written
 * @property {{origin: number, offset: number | null}} arrival where the text of an answer begins:
 *   in characters of the new text, and as the answer counts
 */

/**
 * Return a draft that has nothing but its prompt.
 * @param {string} prompt
 * @param {number[]} promptIds
 * @returns {Draft}
 */
export function newDraft(prompt, promptIds) {
  const arrival = { origin: 0, offset: null };
  return { prompt, promptIds, tokens: [], characters: [], tail: "", reason: null, arrival };
}

/**
 * Return a draft that the next answer goes on from; the tail must be empty.
 * @param {Draft} draft
 * @returns {Draft}
 */
export function reopened(draft) {
  const arrival = { origin: draft.characters.length, offset: null };
  return { ...draft, tokens: [...draft.tokens], characters: [...draft.characters], reason: null, arrival };
}

/**
 * Add what a choice of a streamed answer has brought.
 * @param {Draft} draft
 * @param {any} choice of a chunk
 */
export function receive(draft, choice) {
  const { text, logprobs, finish_reason: reason, prompt_token_ids: promptIds } = choice;
  if (promptIds && !draft.tokens.length) draft.promptIds = promptIds; // "" is <|endoftext|>
  const { arrival } = draft;
  logprobs?.tokens.forEach((name, i) => {
    arrival.offset ??= logprobs.text_offset[i];
    draft.tokens.push({
      id: idOf(name),
      logProbability: logprobs.token_logprobs[i],
      likeliest: ranked(logprobs.top_logprobs?.[i] ?? {}),
      start: arrival.origin + logprobs.text_offset[i] - arrival.offset,
    });
  });
  for (const character of text) draft.characters.push(character);
  draft.reason = reason ?? null;
}

/**
 * Return the text of a token, as far as it has come; empty where it completes no character.
 * @param {Draft} draft
 * @param {number} i
 */
export function textOf({ tokens, characters }, i) {
  const end = tokens[i + 1]?.start ?? characters.length;
  return characters.slice(tokens[i].start, end).join("");
}

/**
 * Return the new text.
 * @param {Draft} draft
 */
export function newText({ characters, tail }) {
  return characters.join("") + tail;
}

/**
 * Return the ids of all tokens.
 * @param {Draft} draft
 */
export function allIds({ promptIds, tokens }) {
  return [...promptIds, ...tokens.map(({ id }) => id)];
}

/**
 * Return the draft as it was before a token.
 * @param {Draft} draft
 * @param {number} count tokens that are kept
 * @returns {Draft}
 */
export function upTo(draft, count) {
  const start = draft.tokens[count]?.start ?? draft.characters.length;
  const characters = draft.characters.slice(0, start);
  return reopened({ ...draft, tokens: draft.tokens.slice(0, count), characters, tail: "" });
}

/**
 * Return the draft with an alternative in place of one of its tokens, and nothing after it.
 * @param {Draft} draft
 * @param {number} i
 * @param {number} id of the alternative, one of the token's likeliest
 * @param {string} whole text of the new tokens up to it, and it
 * @returns {Draft}
 */
export function branched(draft, i, id, whole) {
  const { likeliest } = draft.tokens[i];
  const before = upTo(draft, i);
  const start = before.characters.length;
  const logProbability = likeliest.find(([other]) => other === id)[1];
  const tokens = [...before.tokens, { id, logProbability, likeliest, start }];
  return reopened({ ...before, tokens, characters: [...finished(whole)] });
}

/**
 * Set the text of a draft that has ended. Its tokens may say more than was shown: characters that
 * were held back, which now are shown, or a stop string, which is no part of the text.
 * @param {Draft} draft
 * @param {string} whole text of the new tokens
 */
export function settle(draft, whole) {
  const all = [...finished(whole)];
  const shown = draft.characters;
  if (draft.reason !== "stop" || shown.length >= all.length) {
    draft.characters = all;
    return;
  }
  const end = (i) => draft.tokens[i + 1]?.start ?? all.length;
  const count = draft.tokens.findIndex((_, i) => end(i) > shown.length);
  if (count < 0) return;
  const { start } = draft.tokens[count];
  draft.tail = shown.slice(start).join("");
  draft.characters = shown.slice(0, start);
  draft.tokens.length = count;
}

/**
 * Turn the tail of a draft into tokens.
 * @param {Draft} draft
 * @param {number[]} ids of the tail
 * @returns {Draft}
 */
export function withTail(draft, ids) {
  const { characters, tail } = draft;
  const whole = [...characters, ...tail];
  const start = (k) => (k ? whole.length : characters.length); // the first has all of the text
  const given = { logProbability: null, likeliest: [] };
  const added = ids.map((id, k) => ({ id, start: start(k), ...given }));
  return reopened({ ...draft, tokens: [...draft.tokens, ...added], characters: whole, tail: "" });
}

/** Return a text without a character at its end of which bytes are missing. */
function finished(text) {
  return text.replace(/\ufffd+$/u, "");
}

function ranked(likeliest) {
  return Object.entries(likeliest)
    .map(([name, logProbability]) => [idOf(name), logProbability])
    .sort((a, b) => b[1] - a[1] || a[0] - b[0]);
}

/** Return the id of "token_id:262". */
function idOf(name) {
  return Number(name.slice(name.indexOf(":") + 1));
}
