// Where the image lies on the canvas. Image points are [row, col], (0, 0) is the CENTRE of the first pixel;
// canvas points are [x, y] in CSS pixels from the top left corner.

const MAX_SCALE = 64;

/** A view of an image: the point in the middle of the canvas, and the size of a pixel of the image. */
export class Transform {
  width = 1;
  height = 1;
  scale = 1;
  #rows = 1;
  #cols = 1;
  #row = 0;
  #col = 0;

  /** Show another image, the whole of it. */
  setImage(rows, cols) {
    this.#rows = rows;
    this.#cols = cols;
    this.fit();
  }

  /** The canvas was resized; the point in its middle stays there. */
  resize(width, height) {
    this.width = Math.max(width, 1);
    this.height = Math.max(height, 1);
    this.#clamp();
  }

  /** Show all of [row0, col0, row1, col1] (half open), by default the image, with a margin. */
  fit([row0, col0, row1, col1] = [0, 0, this.#rows, this.#cols], margin = 16) {
    const wide = Math.max(this.width - 2 * margin, 32) / (col1 - col0);
    const high = Math.max(this.height - 2 * margin, 32) / (row1 - row0);
    this.scale = Math.min(wide, high);
    this.#row = (row0 + row1 - 1) / 2;
    this.#col = (col0 + col1 - 1) / 2;
    this.#clamp();
  }

  /** The view: the point in the middle, and the scale; it can be restored. */
  get place() {
    return { row: this.#row, col: this.#col, scale: this.scale };
  }

  set place({ row, col, scale }) {
    this.scale = scale;
    this.#row = row;
    this.#col = col;
    this.#clamp();
  }

  toScreen([row, col]) {
    return [(col - this.#col) * this.scale + this.width / 2, (row - this.#row) * this.scale + this.height / 2];
  }

  toImage([x, y]) {
    return [(y - this.height / 2) / this.scale + this.#row, (x - this.width / 2) / this.scale + this.#col];
  }

  /** Whether no part of the image is out of view. */
  get seesAll() {
    const [left, top] = this.toScreen([-0.5, -0.5]);
    const [right, bottom] = this.toScreen([this.#rows - 0.5, this.#cols - 0.5]);
    return Math.min(left, top, this.width - right, this.height - bottom) >= -1;
  }

  /** Zoom about a point, which stays where it is. */
  zoomAbout([x, y], factor) {
    const [row, col] = this.toImage([x, y]);
    this.scale *= factor;
    this.#clamp();
    const [newRow, newCol] = this.toImage([x, y]);
    this.#row += row - newRow;
    this.#col += col - newCol;
    this.#clamp();
  }

  /** Move the image by CSS pixels. */
  panBy(dx, dy) {
    this.#row -= dy / this.scale;
    this.#col -= dx / this.scale;
    this.#clamp();
  }

  /** The part of the image in view in whole pixels, [row0, col0, row1, col1], half open. */
  visible() {
    const [top, left] = this.toImage([0, 0]);
    const [bottom, right] = this.toImage([this.width, this.height]);
    const within = (value, size) => Math.min(Math.max(value, 0), size);
    return [
      within(Math.floor(top + 0.5), this.#rows),
      within(Math.floor(left + 0.5), this.#cols),
      within(Math.ceil(bottom + 0.5), this.#rows),
      within(Math.ceil(right + 0.5), this.#cols),
    ];
  }

  // The middle of the canvas stays on the image, so that it cannot be lost from view.
  #clamp() {
    const whole = Math.min(this.width / this.#cols, this.height / this.#rows);
    this.scale = Math.min(Math.max(this.scale, Math.min(whole / 2, 1)), Math.max(MAX_SCALE, whole));
    this.#row = Math.min(Math.max(this.#row, -0.5), this.#rows - 0.5);
    this.#col = Math.min(Math.max(this.#col, -0.5), this.#cols - 0.5);
  }
}
