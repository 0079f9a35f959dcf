// The live result: the scribbles spread over what is in view, drawn over the result layer.

import { imagePath } from "./api.js";

const DELAY_MS = 300;

/**
 * Requests a preview a moment after the last change; a newer request cancels an older one. As long as the server has
 * more to learn from the scribbles elsewhere, or on other images, it is asked again.
 */
export class Preview {
  #api;
  #wish;
  #hooks;
  #timer = 0;
  #request = null;
  #shown = null; // {bitmap, window, pixels, teachers}

  /**
   * `wish()` returns {id, version, window}, or null when there is nothing to preview; hooks: `onState("none" | "running" |
   * "shown")`, `onError(error)`, `onDraw()`.
   */
  constructor(api, wish, hooks) {
    this.#api = api;
    this.#wish = wish;
    this.#hooks = hooks;
  }

  /** Something changed: request one soon; or `again` the same, with more that the server has learned. */
  schedule(again = false) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#ask(again), DELAY_MS);
  }

  /** Show none, and request none until the next `schedule`. */
  hide() {
    clearTimeout(this.#timer);
    this.#request?.abort();
    this.#request = null;
    this.#shown?.bitmap.close();
    this.#shown = null;
    this.#tell();
    this.#hooks.onDraw();
  }

  /** The number of pixels of each class in what is shown, or null. */
  get pixels() {
    return this.#shown?.pixels ?? null;
  }

  /** The ids of the other images that have taught what is shown, or null. */
  get teachers() {
    return this.#shown?.teachers ?? null;
  }

  /** Draw it in place of the result layer; the context uses image coordinates. */
  paint(ctx) {
    if (!this.#shown) return;
    const [row, col, rows, cols] = this.#shown.window;
    ctx.imageSmoothingEnabled = false;
    ctx.clearRect(col - 0.5, row - 0.5, cols, rows);
    ctx.drawImage(this.#shown.bitmap, col - 0.5, row - 0.5, cols, rows);
  }

  async #ask(again) {
    const wish = this.#wish();
    if (!wish) return this.hide();
    this.#request?.abort();
    const request = new AbortController();
    this.#request = request;
    this.#tell();
    try {
      const found = await this.#fetch({ ...wish, again }, request.signal);
      const bitmap = found && (await createImageBitmap(found.blob));
      if (this.#request !== request) return bitmap?.close();
      this.#shown?.bitmap.close();
      this.#shown = bitmap ? { ...found, bitmap, window: wish.window } : null;
      if (found && !found.isLast) this.schedule(true);
    } catch (error) {
      if (this.#request !== request) return;
      this.#hooks.onError(error);
    }
    this.#request = null;
    this.#tell();
    this.#hooks.onDraw();
  }

  #fetch({ id, ...wish }, signal) {
    return this.#api.postForPicture(imagePath(id, "preview"), wish, signal);
  }

  #tell() {
    this.#hooks.onState(this.#request ? "running" : this.#shown ? "shown" : "none");
  }
}
