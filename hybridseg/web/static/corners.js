// The corners of a polygon, open or closed: they can be moved, added and removed one by one.

import { imagePath } from "./api.js";
import { wordsFor } from "./dom.js";
import { rounded } from "./tools.js";

const REACH = { mouse: 8, pen: 10, touch: 20 }; // CSS pixels from a corner or a side
const STILL = 3; // CSS pixels that a click may move
const PICKED = wordsFor({
  touch: "Drag its corners; tap a side to add one, drag one onto its neighbour to remove it.",
  keys: "Drag its corners; click on a side to add one, Alt+click or Delete removes one, Esc ends.",
});

/**
 * Changes the open polygon, or else a closed one: the one that was drawn or changed last, or one that was picked by a
 * double click. Each change of a closed one is a change of the image, which can be undone.
 */
export class Corners {
  #page;
  #picked = null; // {id, polygon} that was picked
  #sent = null; // the same of a shape that is not acknowledged yet
  #dropped = null; // version of the image at which the person was done with its polygon
  #drag = null; // {shape, k, before, from, moved, reach, removes}
  #touched = -1; // the corner that Delete removes

  constructor(page) {
    this.#page = page;
  }

  /** Whether a corner is being dragged. */
  get dragging() {
    return this.#drag !== null;
  }

  /** The closed polygon whose corners are shown, {points, class ...}, or null. */
  get closed() {
    const { state, choice, drawing, queue } = this.#page;
    if (!state || choice.tool !== "polygon" || drawing.polygonOpen) return null;
    if (this.#drag) return this.#drag.shape;
    if (!queue.items.some(({ image }) => image === state.id)) this.#sent = null;
    const own = [this.#sent, this.#picked].find((one) => one?.id === state.id);
    return own?.polygon ?? (this.#dropped === state.version ? null : state.polygon);
  }

  /** Pick the topmost polygon at a point of the image. */
  async pick(point) {
    const { api, state, choice, messages, viewer } = this.#page;
    const [row, col] = point;
    const path = `${imagePath(state.id, "polygon")}?layer=${choice.layer}&row=${row}&col=${col}`;
    const found = await this.#page.ask(() => api.get(path));
    if (!found || this.#page.state?.id !== state.id) return;
    this.forget();
    this.#picked = found.polygon && { id: state.id, polygon: found.polygon };
    messages.say(found.polygon ? PICKED : "There is no polygon here.");
    viewer.refresh();
  }

  /** No longer show the corners of the closed polygon; false when none are shown. */
  drop() {
    if (!this.closed) return false;
    this.forget();
    this.#dropped = this.#page.state.version;
    this.#page.viewer.refresh();
    return true;
  }

  /** Forget what was picked: another change was made. */
  forget() {
    this.#picked = this.#sent = this.#dropped = this.#drag = null;
    this.#touched = -1;
  }

  /** The pointer goes down; false when it is not at a corner or a side. */
  down(point, { alt = false, type = "mouse" } = {}) {
    const shape = this.#shape();
    if (!shape) return false;
    const reach = REACH[type] ?? REACH.mouse;
    const before = shape.points;
    let k = this.#cornerAt(before, point, reach);
    const side = k < 0 ? this.#sideAt(shape, point, reach) : -1;
    if (k < 0 && (side < 0 || alt)) return false;
    const points = [...before];
    if (k < 0) points.splice((k = side + 1), 0, rounded(point));
    this.#touched = k;
    this.#drag = { shape: { ...shape, points }, k, before, from: point, moved: side >= 0, reach, removes: alt };
    this.#show(points);
    return true;
  }

  /** The pointer moves while a corner is dragged. */
  move(point) {
    const drag = this.#drag;
    if (drag.removes) return;
    drag.moved ||= this.#apart(point, drag.from) > STILL;
    if (drag.moved) drag.shape.points[drag.k] = rounded(point);
    this.#show(drag.shape.points);
  }

  /** The pointer goes up; a corner that was dragged onto its neighbour is gone. */
  up(point) {
    const { shape, k, moved, reach, removes } = this.#drag;
    this.#drag = null;
    if (removes) return this.#remove(k);
    // A click on a corner of an open polygon may close it.
    if (!moved) return this.#page.drawing.polygonOpen ? this.#page.drawing.up(point) : this.#page.viewer.refresh();
    const { points } = shape;
    const beside = [points.at(k - 1), points[(k + 1) % points.length]];
    if (points.length > 3 && beside.some((other) => this.#apart(other, points[k]) < reach / 2)) points.splice(k, 1);
    this.#keep(shape, points);
  }

  /** A second finger came down: as if the first had never been there; false when it dragged no corner. */
  cancel() {
    if (!this.#drag) return false;
    const { before } = this.#drag;
    this.#drag = null;
    this.#show(before);
    return true;
  }

  /** Remove the corner that was touched last; false when there is none. */
  removeTouched() {
    return this.#touched >= 0 && this.#remove(this.#touched);
  }

  #shape() {
    const { drawing } = this.#page;
    return drawing.polygonOpen ? drawing.stroke : this.closed;
  }

  #remove(k) {
    const shape = this.#shape();
    if (!shape || k >= shape.points.length) return false;
    this.#touched = -1;
    const points = shape.points.filter((_, number) => number !== k);
    if (this.#page.drawing.polygonOpen && !points.length) this.#page.drawing.cancel();
    else if (this.#page.drawing.polygonOpen || points.length >= 3) this.#keep(shape, points);
    else this.#page.messages.say("A polygon has at least three corners.");
    return true;
  }

  // An open polygon is changed where it is, a closed one by a change of the image.
  #keep(shape, points) {
    const { state, drawing } = this.#page;
    this.#show(points);
    if (drawing.polygonOpen) return;
    const polygon = { ...shape, points };
    this.#page.change("strokes", { ...polygon, tool: "polygon", width: 1 });
    this.#picked = null;
    this.#sent = { id: state.id, polygon };
    this.#page.viewer.refresh();
  }

  #show(points) {
    const { drawing, viewer } = this.#page;
    if (drawing.polygonOpen) drawing.stroke.points = points;
    viewer.refresh();
  }

  #cornerAt(points, point, reach) {
    const far = points.map((corner) => this.#apart(corner, point));
    const nearest = Math.min(...far);
    return nearest <= reach ? far.indexOf(nearest) : -1;
  }

  #sideAt({ points }, point, reach) {
    const last = this.#page.drawing.polygonOpen ? points.length - 1 : points.length;
    for (let k = 0; k < last; k++) {
      if (this.#apart(nearestOn(points[k], points[(k + 1) % points.length], point), point) <= reach) return k;
    }
    return -1;
  }

  #apart(a, b) {
    return Math.hypot(a[0] - b[0], a[1] - b[1]) * this.#page.viewer.transform.scale;
  }
}

// The point of a side that is nearest to another one.
function nearestOn([row0, col0], [row1, col1], [row, col]) {
  const [down, across] = [row1 - row0, col1 - col0];
  const share = ((row - row0) * down + (col - col0) * across) / (down ** 2 + across ** 2 || 1);
  const within = Math.min(Math.max(share, 0), 1);
  return [row0 + within * down, col0 + within * across];
}
