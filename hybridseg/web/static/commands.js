// Keys and what they do; the help dialog is made from the same list.

import { make } from "./dom.js";

const LABELS = { " ": "Space", Escape: "Esc", PageDown: "PageDown", PageUp: "PageUp", ctrl: "Ctrl", shift: "Shift", alt: "Alt" };

/** The commands of a page: {group, keys, words, act}; without `act` it only appears in the help, without `words` it does not. */
export class Commands {
  #commands = [];

  /** Add a command; `keys` are names like "z", "ctrl+shift+z", "PageDown". */
  add(group, keys, words, act = null) {
    this.#commands.push({ group, keys, words, act });
  }

  /** Run the command of a key; false when there is none. */
  handle(event) {
    const name = keyName(event);
    const command = this.#commands.find(({ keys, act }) => act && keys.includes(name));
    if (!command) return false;
    event.preventDefault();
    command.act(event);
    return true;
  }

  /** List all keys in an element. */
  list(box) {
    const listed = this.#commands.filter(({ words }) => words);
    const groups = [...new Set(listed.map(({ group }) => group))];
    box.replaceChildren(
      ...groups.map((group) =>
        make(
          "section",
          {},
          make("h3", { textContent: group }),
          make("dl", {}, ...listed.filter((one) => one.group === group).flatMap(describe)),
        ),
      ),
    );
  }
}

function describe({ keys, words }) {
  const signs = keys.flatMap((key, k) => [...(k ? [" or "] : []), make("kbd", { textContent: label(key) })]);
  return [make("dt", {}, ...signs), make("dd", { textContent: words })];
}

function label(key) {
  if (key === "+") return "+";
  const words = (part) => LABELS[part] ?? (part.length === 1 ? part.toUpperCase() : part);
  return key.split("+").map(words).join("+");
}

// Letters are compared without case; Shift counts for letters only, as "?" and "+" need it on many keyboards.
function keyName({ key, ctrlKey, metaKey, altKey, shiftKey }) {
  if (altKey) return null;
  const isLetter = /^[a-z]$/i.test(key);
  const shift = shiftKey && isLetter ? "shift+" : "";
  return `${ctrlKey || metaKey ? "ctrl+" : ""}${shift}${isLetter ? key.toLowerCase() : key}`;
}
