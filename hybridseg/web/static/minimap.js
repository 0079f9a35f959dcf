// A small overview of the image in a corner of the canvas, with the part in view; a click or a drag moves the view there.

import { byId } from "./dom.js";

const SIDE = 160; // CSS pixels of the longer side

/** Shown while a part of the image is out of view, unless the person has hidden it. */
export class Minimap {
  #canvas = byId("minimap");
  #viewer;
  #layer; // () => the layer with the photo
  #wanted = true;

  constructor(viewer, layer) {
    this.#viewer = viewer;
    this.#layer = layer;
    viewer.above.push(() => this.#draw());
    const { classList } = this.#canvas;
    this.#canvas.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      this.#canvas.setPointerCapture(event.pointerId);
      classList.add("held");
      this.#goTo(event);
    });
    this.#canvas.addEventListener("pointermove", (event) => classList.contains("held") && this.#goTo(event));
    for (const type of ["pointerup", "pointercancel"]) {
      this.#canvas.addEventListener(type, () => classList.remove("held"));
    }
  }

  /** Show it whenever there is a reason, or never. */
  want(wanted) {
    this.#wanted = wanted;
    this.#viewer.refresh();
  }

  get #scale() {
    return SIDE / Math.max(this.#viewer.image.rows, this.#viewer.image.cols);
  }

  #draw() {
    const { image, transform, ratio } = this.#viewer;
    const bitmap = this.#viewer.wholeBitmap(this.#layer());
    this.#canvas.hidden = !this.#wanted || !bitmap || transform.seesAll;
    if (this.#canvas.hidden) return;
    const [width, height] = [image.cols, image.rows].map((size) => Math.max(size * this.#scale, 8));
    Object.assign(this.#canvas.style, { width: `${width}px`, height: `${height}px` });
    Object.assign(this.#canvas, { width: Math.round(width * ratio), height: Math.round(height * ratio) });
    const ctx = this.#canvas.getContext("2d");
    ctx.scale(ratio, ratio);
    // The last column of a reduced tile may reach beyond the image.
    const reduced = 2 ** (image.levels - 1);
    const picture = this.#layer().tone?.apply(bitmap) ?? bitmap;
    ctx.drawImage(picture, 0, 0, image.cols / reduced, image.rows / reduced, 0, 0, width, height);
    const [top, left, bottom, right] = transform.visible().map((value) => value * this.#scale);
    for (const [style, line] of [["#000", 3], ["#ffd166", 1.5]]) {
      ctx.strokeStyle = style;
      ctx.lineWidth = line;
      ctx.strokeRect(left + 1, top + 1, Math.max(right - left - 2, 2), Math.max(bottom - top - 2, 2));
    }
  }

  #goTo({ clientX, clientY }) {
    const box = this.#canvas.getBoundingClientRect();
    const [row, col] = [(clientY - box.top) / this.#scale - 0.5, (clientX - box.left) / this.#scale - 0.5];
    this.#viewer.goTo({ ...this.#viewer.transform.place, row, col });
  }
}
