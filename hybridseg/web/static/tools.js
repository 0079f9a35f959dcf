// Turns movements into strokes {layer, tool, class, width, points} in pixels of the image.

const MAX_POINTS = 5000;
const MIN_STEP = 0.5; // of a CSS pixel
const CLOSE_BY = 8; // CSS pixels: near enough to the first corner to close a polygon
const DOUBLE_CLICK_MS = 400;

/**
 * The stroke in progress. `choice()` returns {tool, layer, class, width}; `onStroke` receives finished strokes, `onPick` the
 * point of a double click with the polygon where none is open, and `takeArea()` returns the stroke of an area that is
 * selected but not drawn yet, or null.
 */
export class Drawing {
  stroke = null; // in progress
  hoverPoint = null; // where the pointer is, in the image
  #choice;
  #transform;
  #onStroke;
  #onChange;
  #takeArea;
  #onPick;
  #lastCorner = 0;

  constructor({ choice, transform, onStroke, onChange, onPick, takeArea }) {
    this.#choice = choice;
    this.#transform = transform;
    this.#onStroke = onStroke;
    this.#onChange = onChange;
    this.#takeArea = takeArea;
    this.#onPick = onPick;
  }

  /** Whether the tool draws at all. */
  active() {
    return this.#choice().tool !== "hand";
  }

  /** Whether a polygon has corners but is not closed. */
  get polygonOpen() {
    return this.stroke?.tool === "polygon";
  }

  /** The pen goes down. */
  down(point, isEraser = false) {
    const { tool } = this.#choice();
    if (isEraser || tool === "pen" || tool === "erase") this.#begin(isEraser ? "erase" : tool, point);
  }

  /** The pen moves on. */
  move(points) {
    if (this.stroke && !this.polygonOpen) for (const point of points) this.#add(point);
    this.#onChange();
  }

  /** The pen goes up; a polygon gets a corner, an area is filled. */
  up(point) {
    if (this.stroke && !this.polygonOpen) this.finish();
    else if (this.#choice().tool === "polygon") this.addCorner(point, true);
    else if (this.#choice().tool === "fill") this.fill(point);
  }

  /** Discard the stroke in progress; false when there is none. */
  cancel() {
    const had = this.stroke !== null;
    this.stroke = null;
    this.#onChange();
    return had;
  }

  /** Finish the stroke in progress, if it is complete. */
  finish() {
    const stroke = this.stroke ?? this.#takeArea();
    this.stroke = null;
    if (stroke && stroke.points.length >= (stroke.tool === "polygon" ? 3 : 1)) this.#onStroke(stroke);
    this.#onChange();
  }

  /** Add a corner; with the pointer, the first corner again or a double click closes the polygon. */
  addCorner(point, byPointer = false) {
    if (!this.polygonOpen) this.#begin("polygon", point);
    else {
      const { points } = this.stroke;
      const again = performance.now() - this.#lastCorner < DOUBLE_CLICK_MS && this.#near(point, points.at(-1), CLOSE_BY);
      if (byPointer && again && points.length === 1) return this.#pick(point);
      if (byPointer && (again || this.#near(point, points[0], CLOSE_BY))) return this.closePolygon();
      points.push(rounded(point));
    }
    this.#lastCorner = performance.now();
    this.#onChange();
  }

  /** Remove the last corner. */
  removeCorner() {
    this.stroke.points.pop();
    if (!this.stroke.points.length) this.stroke = null;
    this.#onChange();
  }

  /** Close the polygon; with fewer than three corners it stays open. */
  closePolygon() {
    if (this.stroke.points.length >= 3) this.finish();
  }

  /** Fill the area at a point. */
  fill(point) {
    this.#begin("fill", point);
    this.finish();
  }

  /** The pointer is at a point, or has left. */
  hover(point) {
    this.hoverPoint = point;
    this.#onChange();
  }

  #pick(point) {
    this.cancel();
    this.#onPick(point);
  }

  #begin(tool, point) {
    if (this.stroke) this.finish();
    const { layer, class: classIndex, width } = this.#choice();
    this.stroke = { layer, tool, class: classIndex, width, points: [rounded(point)] };
    this.#onChange();
  }

  #add(point) {
    const { points } = this.stroke;
    if (this.#near(point, points.at(-1), MIN_STEP)) return;
    points.push(rounded(point));
    if (points.length < MAX_POINTS) return;
    // A long stroke is sent in pieces; the next one begins where this one ends.
    this.#onStroke(this.stroke);
    this.stroke = { ...this.stroke, points: [points.at(-1)] };
  }

  #near(a, b, distance) {
    return Math.hypot(a[0] - b[0], a[1] - b[1]) * this.#transform.scale < distance;
  }
}

/** A point to a hundredth of a pixel, which is finer than any hand. */
export function rounded(point) {
  return point.map((value) => Math.round(value * 100) / 100);
}
