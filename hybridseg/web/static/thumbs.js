// Small pictures of the images in the list: fetched for the rows in view, a few at a time.

import { imagePath } from "./api.js";

const MAX_REQUESTS = 2;

/** Pictures by image; `onArrival(id)` is called when one is here. */
export class Thumbs {
  #api;
  #onArrival;
  #urls = new Map(); // id -> address, or "" for an image that has none
  #wanted = [];
  #running = 0;

  constructor(api, onArrival) {
    this.#api = api;
    this.#onArrival = onArrival;
  }

  /** The address of the picture of an image, or "" while there is none. */
  get(id) {
    return this.#urls.get(id) ?? "";
  }

  /** The images whose rows are in view; others need not be fetched any more. */
  want(ids) {
    this.#wanted = ids.filter((id) => !this.#urls.has(id));
    while (this.#wanted.length && this.#running < MAX_REQUESTS) this.#fetch(this.#wanted.shift());
  }

  async #fetch(id) {
    this.#running++;
    this.#urls.set(id, "");
    const blob = await this.#api.getBlob(imagePath(id, "thumbnail")).catch((error) => {
      // An image that cannot be read has no picture; one that was not answered is asked for again.
      if (error.kind === "network" || error.kind === "forbidden") this.#urls.delete(id);
    });
    if (blob) this.#urls.set(id, URL.createObjectURL(blob));
    this.#running--;
    if (blob) this.#onArrival(id);
    this.want(this.#wanted);
  }
}
