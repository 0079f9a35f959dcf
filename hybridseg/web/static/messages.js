// Words for the person: a quiet line for what happened, and banners for what needs attention.

import { make } from "./dom.js";

const REST_MS = 6000;
const PASSING = new Set(["asked", "import", "job", "refused", "taught"]); // banners about one thing, not about the page

/** Capitalise the first letter, unless the first word is a file name. */
export function asSentence(text) {
  const [word] = text.split(/\s/, 1);
  return word.includes(".") ? text : text.charAt(0).toUpperCase() + text.slice(1);
}

/** The status line and the banners of a page. */
export class Messages {
  #banner;
  #status;
  #resting = "";
  #timer = 0;

  constructor(banner, status) {
    this.#banner = banner;
    this.#status = status;
  }

  /** Say what happened in the status line: for a few seconds, or until the next message. */
  say(text, stays = false) {
    clearTimeout(this.#timer);
    this.#status.textContent = text;
    if (!stays) this.#timer = setTimeout(() => this.rest(), REST_MS);
  }

  /** Return to the resting text of the status line; or replace that text. */
  rest(text = this.#resting) {
    this.#resting = text;
    this.say(text, true);
  }

  /** Report a success, and take down the banners about earlier failures. */
  succeed(text) {
    this.pass();
    this.say(text);
  }

  /** Take down the banners about earlier failures. */
  pass() {
    for (const key of PASSING) this.clear(key);
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
