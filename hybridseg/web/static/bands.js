// Which bands of the image are shown as red, green and blue, of an image that has several.

import { byId, make } from "./dom.js";

const FIELDS = ["band-red", "band-green", "band-blue"];

/** The choice of bands; it holds for all images with as many bands, and is kept. `onChange()` is called after a choice. */
export class BandChoice {
  #count = 0;
  #chosen = [1, 2, 3];
  #kept;

  constructor(onChange, kept) {
    this.#kept = kept;
    for (const id of FIELDS) {
      byId(id).addEventListener("input", () => {
        this.#chosen = FIELDS.map((field) => Number(byId(field).value));
        kept.set(`bands ${this.#count}`, this.#chosen);
        onChange();
      });
    }
  }

  /** An image with so many bands was opened. */
  setCount(count) {
    byId("bands").hidden = count < 2;
    if (count === this.#count) return;
    this.#count = count;
    this.#chosen = this.#kept.get(`bands ${count}`) ?? (count < 3 ? [1, 1, 1] : [1, 2, 3]);
    FIELDS.forEach((id, k) => {
      const numbers = Array.from({ length: count }, (_, band) => make("option", { value: band + 1, textContent: band + 1 }));
      byId(id).replaceChildren(...numbers);
      byId(id).value = this.#chosen[k];
    });
  }

  /** What the address of a tile says of it; nothing for the usual bands. */
  get query() {
    const usual = this.#count < 3 ? "1,1,1" : "1,2,3";
    return String(this.#chosen) === usual ? "" : `?bands=${this.#chosen}`;
  }
}
