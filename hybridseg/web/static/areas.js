// Maps of whole numbers over a view of an image, and areas of their pixels: what the smart wand proposes and selects.

/** A map over a view {window: [row, col, rows, cols], shape: [rows, cols]}: `values` are its numbers, row by row. */
export class PixelMap {
  constructor(window, shape, values) {
    Object.assign(this, { window, shape, values });
  }

  /** The number of the pixel of the map at a point of the image, counted row by row; -1 outside. */
  indexOf(point) {
    const [row, col] = point.map((value, k) => this.#cell(value, k));
    return row < 0 || col < 0 || row >= this.shape[0] || col >= this.shape[1] ? -1 : row * this.shape[1] + col;
  }

  /** The connected area of equal numbers around a pixel. */
  areaAt(start) {
    const { values } = this;
    const [rows, cols] = this.shape;
    const area = new Area(this);
    const waiting = [start];
    area.mask[start] = 1;
    const visit = (index) => {
      if (area.mask[index] || values[index] !== values[start]) return;
      area.mask[index] = 1;
      waiting.push(index);
    };
    while (waiting.length) {
      const index = waiting.pop();
      const [row, col] = [Math.floor(index / cols), index % cols];
      area.widen(row, col, row + 1, col + 1);
      if (col > 0) visit(index - 1);
      if (col < cols - 1) visit(index + 1);
      if (row > 0) visit(index - cols);
      if (row < rows - 1) visit(index + cols);
    }
    return area;
  }

  /** All pixels that have a number. */
  whole() {
    const area = new Area(this);
    area.mask.set(this.values.map((value) => (value ? 1 : 0)));
    area.widen(0, 0, ...this.shape);
    return area;
  }

  /** The matrix that takes corners of the map's pixels, x and y, to the canvas. */
  matrix(transform) {
    const [row, col, rows, cols] = this.window;
    const [x, y] = transform.toScreen([row - 0.5, col - 0.5]);
    return [(cols / this.shape[1]) * transform.scale, 0, 0, (rows / this.shape[0]) * transform.scale, x, y];
  }

  #cell(value, axis) {
    return Math.floor(((value + 0.5 - this.window[axis]) / this.window[axis + 2]) * this.shape[axis]);
  }
}

/** Pixels of a map: `mask` is 1 where a pixel belongs to it. */
export class Area {
  #box = null; // [row0, col0, row1, col1] around it, half open
  #picture = null; // {path, bitmap, color}, until it changes

  constructor(map) {
    this.map = map;
    this.mask = new Uint8Array(map.shape[0] * map.shape[1]);
  }

  /** Another one of the same pixels, which can be changed. */
  copy() {
    return new Area(this.map).add(this);
  }

  /** Add the pixels of another area of the same view. */
  add(other) {
    if (other.#box) this.widen(...other.#box);
    other.#visit((index) => (this.mask[index] = 1));
    return this;
  }

  /** Remove them. */
  remove(other) {
    this.#picture = null;
    other.#visit((index) => (this.mask[index] = 0));
    return this;
  }

  /** Whether a pixel of the map belongs to it. */
  has(index) {
    return this.mask[index] === 1;
  }

  /** The number of its pixels. */
  get size() {
    let size = 0;
    this.#visit(() => size++);
    return size;
  }

  /** Its runs of pixels, two points [row, col] each: the first and the last pixel. */
  runs() {
    const points = [];
    const [row0, col0, row1, col1] = this.#box ?? [0, 0, 0, 0];
    for (let row = row0; row < row1; row++) {
      for (let col = col0; col < col1; col++) {
        if (!this.#at(row, col)) continue;
        if (!this.#at(row, col - 1)) points.push([row, col]);
        if (!this.#at(row, col + 1)) points.push([row, col]);
      }
    }
    return points;
  }

  /** It has pixels in this box. */
  widen(row0, col0, row1, col1) {
    const box = this.#box ?? [row0, col0, row1, col1];
    const ends = [Math.min(box[0], row0), Math.min(box[1], col0), Math.max(box[2], row1), Math.max(box[3], col1)];
    this.#box = ends;
    this.#picture = null;
  }

  /** Draw its outline, in CSS pixels, and fill it with a colour unless that is null. */
  paint(ctx, transform, color) {
    if (!this.#box) return;
    if (this.#picture?.color !== color) this.#picture = { color, path: this.#outline(), bitmap: color && this.#fill(color) };
    const { path, bitmap } = this.#picture;
    const matrix = this.map.matrix(transform);
    ctx.save();
    if (bitmap) {
      ctx.transform(...matrix);
      ctx.imageSmoothingEnabled = false;
      ctx.globalAlpha = 0.45;
      ctx.drawImage(bitmap, this.#box[1], this.#box[0]);
    }
    ctx.restore();
    const outline = new Path2D();
    outline.addPath(path, new DOMMatrix(matrix));
    for (const [style, width] of [["rgba(0, 0, 0, 0.8)", 3], ["#fff", 1.5]]) {
      ctx.strokeStyle = style;
      ctx.lineWidth = width;
      ctx.stroke(outline);
    }
  }

  #at(row, col) {
    const [rows, cols] = this.map.shape;
    return row >= 0 && col >= 0 && row < rows && col < cols && this.mask[row * cols + col] === 1;
  }

  #visit(act) {
    const [row0, col0, row1, col1] = this.#box ?? [0, 0, 0, 0];
    const cols = this.map.shape[1];
    for (let row = row0; row < row1; row++) {
      for (let index = row * cols + col0; index < row * cols + col1; index++) if (this.mask[index]) act(index);
    }
  }

  // The edges between its pixels and others, as long as they are straight.
  #outline() {
    const path = new Path2D();
    const [row0, col0, row1, col1] = this.#box;
    const trace = (from, to, first, last, isEdge, move) => {
      for (let line = from; line <= to; line++) {
        let start = -1;
        for (let place = first; place <= last; place++) {
          const edge = place < last && isEdge(line, place);
          if (edge && start < 0) start = place;
          if (!edge && start >= 0) {
            move(line, start, place);
            start = -1;
          }
        }
      }
    };
    trace(row0, row1, col0, col1, (row, col) => this.#at(row, col) !== this.#at(row - 1, col), (row, start, end) => {
      path.moveTo(start, row);
      path.lineTo(end, row);
    });
    trace(col0, col1, row0, row1, (col, row) => this.#at(row, col) !== this.#at(row, col - 1), (col, start, end) => {
      path.moveTo(col, start);
      path.lineTo(col, end);
    });
    return path;
  }

  #fill(color) {
    const [row0, col0, row1, col1] = this.#box;
    const canvas = document.createElement("canvas");
    canvas.width = col1 - col0;
    canvas.height = row1 - row0;
    const ctx = canvas.getContext("2d");
    ctx.fillStyle = color;
    for (let row = row0; row < row1; row++) {
      for (let col = col0; col < col1; col++) if (this.#at(row, col)) ctx.fillRect(col - col0, row - row0, 1, 1);
    }
    return canvas;
  }
}

/** Draw runs of pixels of a view, filled; the context takes image coordinates. */
export function fillRuns(ctx, { points, window: [row, col, rows, cols], shape }) {
  const [high, wide] = [rows / shape[0], cols / shape[1]];
  for (let k = 0; k < points.length; k += 2) {
    const [[line, first], [, last]] = [points[k], points[k + 1]];
    ctx.fillRect(col + first * wide - 0.5, row + line * high - 0.5, (last - first + 1) * wide, high);
  }
}
