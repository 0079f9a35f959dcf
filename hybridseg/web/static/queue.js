// Changes on their way to the server, in order. None is lost: they stay here, and in sessionStorage, until answered.

import { imagePath } from "./api.js";

const KEPT = "hybridseg-unsent";
const RETRY_MS = 2000;
const BUSY_MS = 700;
const REFUSED = new Set(["bad", "too_large", "missing"]);

/**
 * Sends changes {image, action, stroke}: "strokes", "undo" or "redo", each with the version of the last answer.
 * `heads` holds the last state of each image. Hooks: `onChange()`, `onSent(item, change)`, `onRefused(item, error)`,
 * `onWaiting(error)` (it tries again by itself), and `onStuck(item, error)` (a person must decide: see `resume`).
 */
export class ChangeQueue {
  items = [];
  heads = new Map();
  trouble = null; // kind of the error that holds it up
  #api;
  #hooks;
  #sending = false;
  #stuck = false;

  constructor(api, hooks) {
    this.#api = api;
    this.#hooks = hooks;
    this.items = readKept();
  }

  /** Queue a change of an image. */
  add(image, action, stroke = null) {
    this.items.push({ image, action, stroke, tried: null });
    this.#changed();
    this.send();
  }

  /** The strokes of an image that wait, in order. */
  strokes(image) {
    return this.items.filter((item) => item.image === image && item.stroke).map((item) => item.stroke);
  }

  /** A person has decided about the change that is stuck: send it once more, or drop it. */
  resume(again) {
    if (!this.#stuck) return;
    this.#stuck = false;
    this.trouble = null;
    if (again) this.items[0].tried = null;
    else this.items.shift();
    this.#changed();
    this.send();
  }

  /** Wait until all changes of an image are answered. */
  async drained(image) {
    while (this.items.some((item) => item.image === image)) await sleep(50);
  }

  /** Send what is there; harmless while it is being done. */
  async send() {
    if (this.#sending) return;
    this.#sending = true;
    while (this.items.length && !this.#stuck) await this.#sendFirst();
    this.#sending = false;
  }

  async #sendFirst() {
    const item = this.items[0];
    try {
      const change = await this.#deliver(item);
      this.items.shift();
      this.heads.set(item.image, change);
      this.trouble = null;
      this.#hooks.onSent(item, change);
      this.#changed();
    } catch (error) {
      await this.#fail(item, error);
    }
  }

  async #deliver(item) {
    const head = this.heads.get(item.image) ?? (await this.#api.get(imagePath(item.image)));
    // An answer may have been lost on the way after the change was made; then it must not be made twice.
    if (item.tried && wasMade(item, head)) return { ...head, bounds: [0, 0, head.rows, head.cols] };
    if (item.tried && !isSame(item, head)) throw await this.#conflict(item, head);
    this.heads.set(item.image, head);
    item.tried = { version: head.version, n_strokes: head.n_strokes };
    this.#keep();
    return this.#api.post(imagePath(item.image, item.action), { version: head.version, ...item.stroke });
  }

  async #conflict(item, head = null) {
    this.heads.set(item.image, head ?? (await this.#api.get(imagePath(item.image))));
    return Object.assign(new Error("This image was changed in another tab or program."), { kind: "conflict" });
  }

  async #fail(item, error) {
    this.trouble = error.kind ?? "failed";
    // Where the server did answer, it did not make the change.
    if (error.kind !== "network") item.tried = null;
    if (error.kind === "network" || error.kind === "forbidden") {
      this.heads.delete(item.image);
      this.#hooks.onWaiting(error);
      await sleep(RETRY_MS);
    } else if (error.kind === "busy") {
      this.heads.delete(item.image);
      await sleep(BUSY_MS);
    } else if (REFUSED.has(error.kind) || (error.kind === "conflict" && !item.stroke)) {
      this.items.shift();
      this.heads.delete(item.image);
      this.trouble = null;
      this.#changed();
      this.#hooks.onRefused(item, error);
    } else {
      if (error.kind === "conflict") await this.#conflict(item).catch(() => this.heads.delete(item.image));
      this.#stuck = true;
      this.#hooks.onStuck(item, error);
    }
    this.#hooks.onChange();
  }

  #changed() {
    this.#keep();
    this.#hooks.onChange();
  }

  #keep() {
    try {
      sessionStorage.setItem(KEPT, JSON.stringify(this.items));
    } catch {
      // Full or forbidden: the strokes stay in memory, and leaving the page warns.
    }
  }
}

function readKept() {
  try {
    return JSON.parse(sessionStorage.getItem(KEPT)) ?? [];
  } catch {
    return [];
  }
}

function wasMade(item, head) {
  if (head.version === item.tried.version) return false;
  return item.stroke === null || head.n_strokes === item.tried.n_strokes + 1;
}

// A program that was started again may count its versions anew.
function isSame(item, head) {
  return head.version === item.tried.version || (head.version < item.tried.version && head.n_strokes === item.tried.n_strokes);
}

function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
