// Changes to send to the server, in order. None is lost: they stay here, and in sessionStorage, until acknowledged.

import { imagePath } from "./api.js";

const KEPT = "hybridseg-unsent";
const RETRY_MS = 2000;
const WAITING = new Set(["network", "forbidden"]);
const REFUSED = new Set(["bad", "too_large", "missing"]);

/**
 * Sends changes {image, action, stroke, className, key}: "strokes", "undo" or "redo", each with the version of the last
 * answer. By its key the server recognises a change that it has made already, when its answer was lost.
 * `heads` holds the last state of each image. Hooks: `onChange()`, `onSent(item, change)`, `onRefused(item, error)`,
 * `onWaiting(error)` (it retries by itself), `onRestart()` (the program was restarted), and
 * `onStuck(item, error)` (the person must decide: see `resume`).
 */
export class ChangeQueue {
  items = [];
  heads = new Map();
  trouble = null; // kind of the error that blocks it
  #api;
  #hooks;
  #sending = false;
  #stuck = false;

  constructor(api, hooks) {
    this.#api = api;
    this.#hooks = hooks;
    this.items = readKept();
  }

  /** Queue a change of an image; a stroke comes with the name of its class. */
  add(image, action, stroke = null, className = null) {
    this.items.push({ image, action, stroke, className, key: makeKey() });
    this.#changed();
    this.send();
  }

  /** The strokes of an image that wait, in order. */
  strokes(image) {
    return this.items.filter((item) => item.image === image && item.stroke).map((item) => item.stroke);
  }

  /** The class list changed: queued strokes keep their class. The server refuses one whose class is gone. */
  setClasses(classes) {
    for (const { stroke, className } of this.items) {
      if (stroke && stroke.tool !== "erase") stroke.class = classes.findIndex(({ name }) => name === className);
    }
  }

  /** The person decided about the change that is stuck: send it again, or drop it. */
  resume(again) {
    if (!this.#stuck) return;
    this.#stuck = false;
    this.trouble = null;
    if (!again) this.items.shift();
    this.#changed();
    this.send();
  }

  /** Wait until all changes of an image are acknowledged. */
  async drained(image) {
    while (this.items.some((item) => item.image === image)) await sleep(50);
  }

  /** Send what is queued; does nothing while sending. */
  async send() {
    if (this.#sending) return;
    this.#sending = true;
    while (this.items.length && !this.#stuck) await this.#sendFirst();
    this.#sending = false;
  }

  async #sendFirst() {
    const item = this.items[0];
    const { run } = this.#api;
    try {
      const change = await this.#deliver(item);
      this.items.shift();
      this.heads.set(item.image, change);
      this.trouble = null;
      this.#hooks.onSent(item, change);
      this.#changed();
    } catch (error) {
      // A restarted program counts versions from 1 again: that is not a conflict.
      if (error.kind === "conflict" && this.#api.run !== run) await this.#restart();
      else await this.#fail(item, error);
    }
  }

  async #deliver({ image, action, stroke, key }) {
    const head = this.heads.get(image) ?? (await this.#api.get(imagePath(image)));
    this.heads.set(image, head);
    return this.#api.post(imagePath(image, action), { version: head.version, key, ...stroke });
  }

  async #restart() {
    this.heads.clear();
    await this.#hooks.onRestart();
  }

  async #fail(item, error) {
    this.trouble = error.kind ?? "failed";
    // After a silence the change is sent unchanged: what others did meanwhile must cause a conflict.
    if (error.kind !== "network") this.heads.delete(item.image);
    if (WAITING.has(error.kind)) {
      this.#hooks.onWaiting(error);
      this.#hooks.onChange();
      await sleep(RETRY_MS);
    } else if (REFUSED.has(error.kind) || (error.kind === "conflict" && !item.stroke)) {
      this.items.shift();
      this.trouble = null;
      this.#hooks.onRefused(item, error);
    } else {
      this.#stuck = true;
      this.#hooks.onStuck(item, error);
    }
    this.#changed();
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

// crypto.randomUUID does not exist on a page served over plain HTTP from another machine.
function makeKey() {
  return Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(36)).join("");
}

function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
