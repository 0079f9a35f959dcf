// Brightness, contrast and gamma of the photo as it is shown; nothing else is affected.

import { byId } from "./dom.js";

const SLIDERS = ["brightness", "contrast", "gamma"];
const ENDS = [0.01, 0.99]; // shares of the pixels that "Stretch" makes black and white

/**
 * Changes the tiles of the photo by a table of 256 values; `onChange()` is called when the table is another one. Each
 * image has its own, which is kept, and begins as it is.
 */
export class Tone {
  #table = null; // null: the photo as it is
  #range = [0, 255];
  #image = null; // id
  #kept; // {values, range} of images that were changed
  #changed = new WeakMap(); // bitmap -> canvas with the table in force
  #onChange;

  constructor(onChange, kept) {
    this.#onChange = onChange;
    this.#kept = kept;
    for (const id of SLIDERS) byId(id).addEventListener("input", () => this.#update());
    byId("tone-reset").addEventListener("click", () => this.reset());
  }

  /** Another image is on view: show it as it was left. */
  setImage(id) {
    if (id === this.#image) return;
    this.#image = id;
    const { values, range } = this.#kept.get(`tone ${id}`) ?? { values: null, range: [0, 255] };
    SLIDERS.forEach((slider, k) => (byId(slider).value = values?.[k] ?? byId(slider).defaultValue));
    this.#range = range;
    this.#update();
  }

  /** Show the photo as it is. */
  reset() {
    for (const id of SLIDERS) byId(id).value = byId(id).defaultValue;
    this.#range = [0, 255];
    this.#update();
  }

  /** Stretch what the pixels of a bitmap have in common over all brightnesses. */
  stretch(bitmap) {
    if (!bitmap) return;
    const { data } = drawn(bitmap).getContext("2d").getImageData(0, 0, bitmap.width, bitmap.height);
    const counts = new Array(256).fill(0);
    for (let k = 0; k < data.length; k += 4) for (let c = 0; c < 3; c++) counts[data[k + c]]++;
    const total = (data.length / 4) * 3;
    const [low, high] = ENDS.map((share) => {
      let seen = 0;
      return counts.findIndex((count) => (seen += count) >= share * total);
    });
    this.#range = [low, Math.max(high, low + 1)];
    this.#update();
  }

  /** The bitmap with the table applied. */
  apply(bitmap) {
    if (!this.#table) return bitmap;
    const known = this.#changed.get(bitmap);
    if (known) return known;
    const canvas = drawn(bitmap);
    const ctx = canvas.getContext("2d");
    const pixels = ctx.getImageData(0, 0, canvas.width, canvas.height);
    const { data } = pixels;
    for (let k = 0; k < data.length; k += 4) for (let c = 0; c < 3; c++) data[k + c] = this.#table[data[k + c]];
    ctx.putImageData(pixels, 0, 0);
    this.#changed.set(bitmap, canvas);
    return canvas;
  }

  #update() {
    const [brightness, contrast, gamma] = SLIDERS.map((id) => byId(id).valueAsNumber / 100);
    const [low, high] = this.#range;
    const value = (v) => {
      const share = Math.min(Math.max((v - low) / (high - low), 0), 1) ** (1 / gamma);
      return ((share - 0.5) * contrast + 0.5 + brightness) * 255;
    };
    const table = Uint8ClampedArray.from({ length: 256 }, (_, v) => value(v));
    this.#table = table.every((v, k) => v === k) ? null : table;
    byId("tone-reset").disabled = !this.#table;
    const values = SLIDERS.map((id) => byId(id).value);
    this.#kept.set(`tone ${this.#image}`, this.#table ? { values, range: this.#range } : undefined);
    this.#changed = new WeakMap();
    this.#onChange();
  }
}

function drawn(bitmap) {
  const canvas = Object.assign(document.createElement("canvas"), { width: bitmap.width, height: bitmap.height });
  canvas.getContext("2d", { willReadFrequently: true }).drawImage(bitmap, 0, 0);
  return canvas;
}
