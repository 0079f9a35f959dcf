// The walking window: one part of the image after the other, row by row, so that none is forgotten.

/** A frame of `size` x `size` pixels that walks over an image. */
export class Walk {
  on = false;
  place = 0;
  #size;
  #frames = [];

  constructor(size) {
    this.#size = size;
  }

  /** Walk over another image, from its first window. */
  setImage({ rows, cols }) {
    this.place = 0;
    this.#frames = starts(rows, this.#size).flatMap((row) =>
      starts(cols, this.#size).map((col) => [row, col, Math.min(row + this.#size, rows), Math.min(col + this.#size, cols)]),
    );
  }

  /** How many windows there are. */
  get count() {
    return this.#frames.length;
  }

  /** The window as bounds, or null when walking is off. */
  get frame() {
    return this.on ? this.#frames[this.place] : null;
  }

  /** Move by a number of windows; false at the ends. */
  step(by) {
    const place = this.place + by;
    if (place < 0 || place >= this.count) return false;
    this.place = place;
    return true;
  }

  /** Draw the frame and darken what is around it, in CSS pixels. */
  paint(ctx, transform) {
    if (!this.frame) return;
    const [row0, col0, row1, col1] = this.frame;
    const [left, top] = transform.toScreen([row0 - 0.5, col0 - 0.5]);
    const [right, bottom] = transform.toScreen([row1 - 0.5, col1 - 0.5]);
    ctx.fillStyle = "rgba(20, 21, 23, 0.45)";
    ctx.beginPath();
    ctx.rect(0, 0, transform.width, transform.height);
    ctx.rect(left, top, right - left, bottom - top);
    ctx.fill("evenodd");
    ctx.strokeStyle = "#ffd166";
    ctx.lineWidth = 2;
    ctx.strokeRect(left - 1, top - 1, right - left + 2, bottom - top + 2);
  }
}

// The last window is shifted inwards, so that it is as large as the others.
function starts(length, size) {
  const count = Math.max(Math.ceil(length / size), 1);
  return Array.from({ length: count }, (_, k) => Math.max(Math.min(k * size, length - size), 0));
}
