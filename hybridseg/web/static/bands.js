// Which bands of the image are shown as red, green and blue, of an image that has several.

import { byId, make } from "./dom.js";

const FIELDS = ["band-red", "band-green", "band-blue"];

/**
 * The choice of bands; it holds for all images with as many bands, and is kept for each. `onChange()` is called after a
 * choice.
 */
export class BandChoice {
  #count = 0;
  #chosen = [1, 2, 3];
  #image = null; // id
  #kept;

  constructor(onChange, kept) {
    this.#kept = kept;
    FIELDS.forEach((id, k) => {
      byId(id).addEventListener("input", ({ target }) => {
        this.#chosen[k] = Number(target.value);
        this.#keep();
        onChange();
      });
    });
  }

  /** An image with so many bands was opened. */
  setImage({ id, bands: count }) {
    this.#image = id;
    byId("bands").hidden = count < 2;
    if (count !== this.#count) this.#offer(count);
    this.#keep();
  }

  #offer(count) {
    this.#count = count;
    this.#chosen = this.#kept.get(`bands ${this.#image}`) ?? (count < 3 ? [1, 1, 1] : [1, 2, 3]);
    FIELDS.forEach((id, k) => {
      const numbers = Array.from({ length: count }, (_, band) => make("option", { value: band + 1, textContent: band + 1 }));
      byId(id).replaceChildren(...numbers);
      byId(id).value = this.#chosen[k];
    });
  }

  #keep() {
    this.#kept.set(`bands ${this.#image}`, this.query ? this.#chosen : undefined);
  }

  /** What the address of a tile says of it; nothing for the usual bands. */
  get query() {
    const usual = this.#count < 3 ? "1,1,1" : "1,2,3";
    return String(this.#chosen) === usual ? "" : `?bands=${this.#chosen}`;
  }
}
