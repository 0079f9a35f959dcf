// What the browser keeps: what a person prefers, and what they have set in this tab while the program runs.

import { byId } from "./dom.js";

/** Values by name in a storage of the browser; those of another `run` of the program are forgotten. */
export class Kept {
  #storage;
  #key;
  #values;

  constructor(storage, key, run) {
    this.#storage = storage;
    this.#key = key;
    const kept = readKept(storage, key);
    this.#values = kept.run === run ? kept : { run };
  }

  /** A value, or undefined. */
  get(name) {
    return this.#values[name];
  }

  /** Keep a value; undefined forgets it. */
  set(name, value) {
    this.#values[name] = value;
    try {
      this.#storage.setItem(this.#key, JSON.stringify(this.#values));
    } catch {
      // Full or forbidden: it holds for this page.
    }
  }

  /** Keep what fields with these ids are set to. */
  keepFields(...ids) {
    for (const id of ids) {
      const field = byId(id);
      const property = field.type === "checkbox" ? "checked" : "value";
      field[property] = this.get(id) ?? field[property];
      field.addEventListener("input", () => this.set(id, field[property]));
    }
  }
}

/** What a person prefers, which outlasts the page: fields and folding parts with `data-setting`, and other values. */
export class Settings extends Kept {
  #listeners = new Map();

  constructor(root) {
    super(localStorage, "hybridseg-settings");
    for (const field of root.querySelectorAll("select[data-setting]")) {
      const { setting } = field.dataset;
      field.value = this.get(setting) ?? field.value;
      field.addEventListener("input", () => this.set(setting, field.value));
    }
    for (const part of root.querySelectorAll("details[data-setting]")) {
      const { setting } = part.dataset;
      part.open = this.get(setting) ?? part.open;
      // Only what the person does counts, not how wide the window is.
      part.querySelector("summary").addEventListener("click", () => this.set(setting, !part.open));
    }
  }

  /** Keep a value, and tell who listens. */
  set(name, value) {
    super.set(name, value);
    this.#listeners.get(name)?.(value);
  }

  /** Call a function with the value of a setting now, if it was ever set, and whenever it changes. */
  on(name, listener) {
    this.#listeners.set(name, listener);
    if (this.get(name) !== undefined) listener(this.get(name));
  }
}

function readKept(storage, key) {
  try {
    return JSON.parse(storage.getItem(key)) ?? {};
  } catch {
    return {};
  }
}
