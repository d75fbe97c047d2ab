// What has the reader chosen, and which parts of the page follow?

/**
 * @typedef {{token: number, block: number, head: number, pointed: number | null}} Chosen
 *   positions of a token: `pointed` is under the pointer or focus at the moment
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
