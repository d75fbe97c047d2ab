// What has the reader chosen, and which parts of the page follow?

/**
 * @typedef {object} Chosen
 * @property {number} token its position
 * @property {number} block
 * @property {number} head
 * @property {number | null} pointed position of the token that is under the pointer or focus
 * @property {Object<string, number>} [steps] the step that is shown, by the name of the steps
 * @property {number} [place] in the residual stream
 * @property {number} [temperature]
 * @property {number} [topK] place of its slider
 * @typedef {{chosen: Chosen, set: (changes: Partial<Chosen>) => void,
 *   follow: (names: (keyof Chosen)[], listener: (chosen: Chosen) => void) => void}} Choice
 */

/**
 * Return a choice that parts of the page share.
 * @param {Chosen} start
 * @returns {Choice} `follow` calls a listener at once, and whenever one of the names changes
 */
export function createChoice(start) {
  const chosen = { ...start };
  const followers = [];
  return {
    chosen,
    set(changes) {
      const changed = Object.keys(changes).filter((name) => chosen[name] !== changes[name]);
      Object.assign(chosen, changes);
      for (const { names, listener } of followers) {
        if (changed.some((name) => names.includes(name))) listener(chosen);
      }
    },
    follow(names, listener) {
      followers.push({ names, listener });
      listener(chosen);
    },
  };
}
