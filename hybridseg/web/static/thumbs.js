// Small pictures of the images in the list: fetched for the rows in view, a few at a time.

const MAX_REQUESTS = 2;

/** Pictures by image; `onArrival(id, fault)` is called when one is here, or it is known why there will be none. */
export class Thumbs {
  #api;
  #onArrival;
  #urls = new Map(); // id -> address, or "" for an image that has none
  #wanted = [];
  #running = 0;
  #isHeld = true;

  constructor(api, onArrival) {
    this.#api = api;
    this.#onArrival = onArrival;
  }

  /** The address of the picture of an image, or "" while there is none. */
  get(id) {
    return this.#urls.get(id) ?? "";
  }

  /** Fetch from now on: what a person waits for first, the image itself, is here. */
  start() {
    this.#isHeld = false;
    this.want(this.#wanted);
  }

  /** The images whose rows are in view; others need not be fetched any more. */
  want(ids) {
    this.#wanted = ids.filter((id) => !this.#urls.has(id));
    while (!this.#isHeld && this.#wanted.length && this.#running < MAX_REQUESTS) this.#fetch(this.#wanted.shift());
  }

  async #fetch(id) {
    this.#running++;
    this.#urls.set(id, "");
    const found = await this.#api.getThumb(id).catch((error) => {
      // One that was not answered is asked for again.
      if (error.kind === "network" || error.kind === "forbidden") this.#urls.delete(id);
    });
    if (found?.blob) this.#urls.set(id, URL.createObjectURL(found.blob));
    this.#running--;
    if (found) this.#onArrival(id, found.fault);
    this.want(this.#wanted);
  }
}
