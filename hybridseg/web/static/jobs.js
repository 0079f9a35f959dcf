// Jobs of the server on one image: start, follow, cancel.

import { imagePath } from "./api.js";

const POLL_MS = 300;

/** Starts and follows jobs; `onState(state)` is called as they progress. */
export class Jobs {
  #api;
  #onState;
  #watched = new Set();

  constructor(api, onState) {
    this.#api = api;
    this.#onState = onState;
  }

  /** Start "run" or "accept" on an image; returns its state when the job has ended. */
  async start(id, kind, version) {
    const state = await this.#api.post(imagePath(id, kind), { version });
    return this.follow(state);
  }

  /** Follow the job of an image to its end; returns null when it is followed already. */
  async follow(state) {
    if (this.#watched.has(state.id)) return null;
    this.#watched.add(state.id);
    this.#onState(state);
    while (state.job) {
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      state = await this.#api.get(imagePath(state.id)).catch(() => state);
      this.#onState(state);
    }
    this.#watched.delete(state.id);
    return state;
  }

  /** Cancel the job of an image. */
  cancel(id) {
    return this.#api.post(imagePath(id, "cancel"), {});
  }
}
