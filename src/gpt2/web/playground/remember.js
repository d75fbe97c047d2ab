// How does a form come back as the reader left it? The tab keeps its values while the page is away.

const FIELDS = ":is(input, textarea, select)[id]";

/**
 * Give the fields of a form that have an id the values that they had before the page was loaded
 * again; keep the values they have when the reader leaves.
 * @param {HTMLElement} form
 * @param {string} key in the tab's storage
 */
export function remember(form, key) {
  for (const [id, value] of Object.entries(read(key))) {
    const field = form.querySelector(`${FIELDS}[id="${CSS.escape(id)}"]`);
    if (!field || field.value === value) continue;
    field.value = value;
    for (const name of ["input", "change"]) field.dispatchEvent(new Event(name));
  }
  window.addEventListener("pagehide", () => write(key, [...form.querySelectorAll(FIELDS)]));
}

function read(key) {
  try {
    return JSON.parse(sessionStorage.getItem(key)) ?? {};
  } catch {
    return {};
  }
}

function write(key, fields) {
  try {
    const values = fields.map(({ id, value }) => [id, value]);
    sessionStorage.setItem(key, JSON.stringify(Object.fromEntries(values)));
  } catch {
    return; // it is full, or refused
  }
}
