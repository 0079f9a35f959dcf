// Words for the person: a quiet line for what happened, and banners for what needs attention.

import { make } from "./dom.js";

/** Begin with a capital letter, unless the first word is the name of a file. */
export function asSentence(text) {
  const [word] = text.split(/\s/, 1);
  return word.includes(".") ? text : text.charAt(0).toUpperCase() + text.slice(1);
}

/** The status line and the banners of a page. */
export class Messages {
  #banner;
  #status;

  constructor(banner, status) {
    this.#banner = banner;
    this.#status = status;
  }

  /** Say what happened, in the status line. */
  say(text) {
    this.#status.textContent = text;
  }

  /** Raise a banner; one with the same key is replaced. `actions` are [words, function]; without any it can be closed. */
  raise(key, text, actions = []) {
    this.clear(key);
    const choices = actions.length ? actions : [["Close", () => {}]];
    const buttons = choices.map(([words, act]) => {
      const button = make("button", { type: "button", textContent: words });
      button.addEventListener("click", () => {
        this.clear(key);
        act();
      });
      return button;
    });
    this.#banner.append(make("div", { className: "notice", dataset: { key } }, make("p", { textContent: asSentence(text) }), ...buttons));
    this.#banner.hidden = false;
  }

  /** Take a banner down. */
  clear(key) {
    for (const notice of [...this.#banner.children]) if (notice.dataset.key === key) notice.remove();
    this.#banner.hidden = !this.#banner.children.length;
  }
}
