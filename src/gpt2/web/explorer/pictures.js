// How are the pictures of a model that runs shown? Each is drawn by the server, when one is to be seen.

import { ask, whenKeyGiven } from "gpt2/ask.js";
import { create } from "gpt2/dom.js";
import { showPictures } from "gpt2/pictures.js";
import { whenSeen } from "gpt2/seen.js";

/**
 * Fill a section with the pictures of a model.
 * @param {HTMLElement} section
 * @param {string} model its name
 * @returns {{setModel: (model: string) => void}}
 */
export function showLivePictures(section, model) {
  const note = create("p", { class: "muted", role: "status" });
  const cards = showPictures(section, []);
  section.append(note);
  let request = new AbortController();
  let isRefused = false; // for want of a key
  const start = whenSeen(section, draw);

  async function draw() {
    request.abort();
    request = new AbortController();
    const { signal } = request;
    isRefused = false;
    const query = `model=${encodeURIComponent(model)}`;
    try {
      cards.clear();
      note.textContent = "The server draws them …";
      const { pictures } = await ask(`/explore/pictures?${query}`, undefined, signal);
      for (const [i, name] of pictures.entries()) {
        note.textContent = `The server draws picture ${i + 1} of ${pictures.length} …`;
        cards.add(await ask(`/explore/picture?${query}&name=${name}`, undefined, signal));
      }
      note.textContent = "";
    } catch (error) {
      if (signal.aborted) return;
      note.textContent = error.message;
      isRefused = error.status === 401;
    }
  }

  whenKeyGiven(() => isRefused && start());
  start();
  return {
    setModel(name) {
      model = name;
      start();
    },
  };
}
