// What a person prefers, kept in this browser: fields with `data-setting`, and other values by name.

const KEPT = "hybridseg-settings";

/** Settings by name; they outlast the page. */
export class Settings {
  #values = readKept();
  #listeners = new Map();

  constructor(root) {
    for (const field of root.querySelectorAll("[data-setting]")) {
      const { setting } = field.dataset;
      if (this.#values[setting] !== undefined) field.value = this.#values[setting];
      field.addEventListener("input", () => this.set(setting, field.value));
    }
  }

  /** The value of a setting, or undefined. */
  get(name) {
    return this.#values[name];
  }

  /** Keep a value, and tell who listens. */
  set(name, value) {
    this.#values[name] = value;
    try {
      localStorage.setItem(KEPT, JSON.stringify(this.#values));
    } catch {
      // Full or forbidden: it holds for this page.
    }
    this.#listeners.get(name)?.(value);
  }

  /** Call a function with the value of a setting now, if it was ever set, and whenever it changes. */
  on(name, listener) {
    this.#listeners.set(name, listener);
    if (this.#values[name] !== undefined) listener(this.#values[name]);
  }
}

function readKept() {
  try {
    return JSON.parse(localStorage.getItem(KEPT)) ?? {};
  } catch {
    return {};
  }
}
