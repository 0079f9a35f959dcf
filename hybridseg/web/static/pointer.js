// Mouse, pen and fingers on the canvas become panning, zooming and drawing.

const WHEEL_ZOOM = 0.006;
const MAX_WHEEL = 50;
const LONG_STROKE_MS = 300;

/**
 * Listens to a canvas. `draw` receives the drawing in image points: `active()`, `down(point, isEraser, {alt, type})`, `move(points)`,
 * `up(point)`, `cancel()`, `hover(point or null)`, `wheel(steps)` (true when it handled the wheel).
 */
export class PointerInput {
  spaceHeld = false;
  wheelSetsPen = false; // without a key; with Ctrl or Alt it is the other way round
  pannedWithSpace = false;
  #canvas;
  #viewer;
  #draw;
  #points = new Map(); // pointer id -> {at: [x, y], type}
  #drawing = null; // {id, since} of the pointer that draws
  #penSeen = false;
  #rolled = 0; // distance of the wheel since the last step
  #over = null; // where the pointer is on the canvas
  #ctrlHeld = false;

  constructor(canvas, viewer, draw = null) {
    this.#canvas = canvas;
    this.#viewer = viewer;
    this.#draw = draw;
    const listen = (type, listener) => canvas.addEventListener(type, listener, { passive: false });
    listen("pointerdown", (event) => this.#down(event));
    listen("pointermove", (event) => this.#move(event));
    listen("pointerup", (event) => this.#up(event));
    listen("pointercancel", (event) => this.#up(event));
    listen("pointerleave", () => this.#hover(null));
    listen("wheel", (event) => this.#wheel(event));
    listen("contextmenu", (event) => event.preventDefault());
    for (const type of ["keydown", "keyup"]) window.addEventListener(type, (event) => (this.#ctrlHeld = event.ctrlKey));
    window.addEventListener("blur", () => (this.#ctrlHeld = false));
  }

  /** Whether a button or a finger is down. */
  get pressed() {
    return this.#points.size > 0;
  }

  /** Where the pointer is in the image as it lies now, or null. */
  get point() {
    return this.#over && this.#viewer.transform.toImage(this.#over);
  }

  /** Show what dragging would do now. */
  updateCursor() {
    const pans = this.spaceHeld || !this.#draw?.active();
    this.#canvas.dataset.cursor = pans ? (this.#points.size ? "grabbing" : "grab") : "draw";
  }

  #down(event) {
    event.preventDefault();
    if (event.pointerType === "pen") this.#penSeen = true;
    this.#points.set(event.pointerId, { at: this.#at(event), type: event.pointerType });
    this.#canvas.setPointerCapture(event.pointerId);
    this.#canvas.focus({ preventScroll: true });
    if (this.#drawing) this.#secondPointer();
    else if (this.#draws(event)) {
      this.#drawing = { id: event.pointerId, since: event.timeStamp };
      this.#draw.down(this.#imagePoint(event), event.button === 5, { alt: event.altKey, type: event.pointerType });
    } else if (this.spaceHeld) this.pannedWithSpace = true;
    this.updateCursor();
  }

  #draws(event) {
    if (!this.#draw?.active() || this.spaceHeld || this.#points.size > 1) return false;
    // Once a pen was used, a touch is a resting palm or moves the image.
    if (event.pointerType === "touch") return !this.#penSeen;
    return event.button === 0 || event.button === 5;
  }

  // A second finger moves the view. What the first one drew is discarded, unless it drew for a while.
  #secondPointer() {
    const { id, since } = this.#drawing;
    const pointer = this.#points.get(id);
    if (pointer.type !== "touch") return;
    this.#drawing = null;
    if (performance.now() - since > LONG_STROKE_MS) this.#draw.up(this.#viewer.transform.toImage(pointer.at));
    else this.#draw.cancel();
  }

  #move(event) {
    const pointer = this.#points.get(event.pointerId);
    if (event.pointerType !== "touch" || pointer) this.#hover(this.#at(event));
    if (!pointer) return;
    if (this.#drawing?.id === event.pointerId) {
      const events = event.getCoalescedEvents?.() ?? [];
      this.#draw.move((events.length ? events : [event]).map((one) => this.#imagePoint(one)));
    } else if (!this.#drawing) this.#pan(event.pointerId, this.#at(event));
    pointer.at = this.#at(event);
  }

  // One pointer moves the image; two move it and zoom by the distance between them.
  #pan(id, at) {
    const before = this.#points.get(id).at;
    const other = [...this.#points].find(([key]) => key !== id)?.[1].at;
    if (!other) return this.#viewer.pan(at[0] - before[0], at[1] - before[1]);
    const middle = (a, b) => [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
    const apart = (a, b) => Math.max(Math.hypot(a[0] - b[0], a[1] - b[1]), 1);
    this.#viewer.pan((at[0] - before[0]) / 2, (at[1] - before[1]) / 2);
    this.#viewer.zoom(apart(at, other) / apart(before, other), middle(at, other));
  }

  #up(event) {
    this.#points.delete(event.pointerId);
    if (this.#drawing?.id === event.pointerId) {
      this.#drawing = null;
      if (event.type === "pointercancel" && event.pointerType === "touch") this.#draw.cancel();
      else this.#draw.up(this.#imagePoint(event));
    }
    if (event.pointerType === "touch") this.#hover(null);
    this.updateCursor();
  }

  #hover(at) {
    this.#over = at;
    this.#draw?.hover(this.point);
  }

  #wheel(event) {
    event.preventDefault();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? 1 : 20;
    const delta = Math.min(Math.max(event.deltaY * lines, -MAX_WHEEL), MAX_WHEEL);
    // A touch pad reports pinching as a wheel with Ctrl, but no key is down.
    const pinches = event.ctrlKey && !this.#ctrlHeld;
    const setsPen = (event.ctrlKey || event.altKey) !== this.wheelSetsPen;
    if (!pinches && setsPen && this.#draw?.wheel(this.#wheelSteps(delta))) return;
    this.#viewer.zoom(Math.exp(-delta * WHEEL_ZOOM), this.#at(event));
  }

  // A touch pad scrolls in many small events, a mouse in few large ones.
  #wheelSteps(delta) {
    this.#rolled += delta;
    const steps = Math.trunc(this.#rolled / MAX_WHEEL);
    this.#rolled -= steps * MAX_WHEEL;
    return -steps;
  }

  #at(event) {
    const box = this.#canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  #imagePoint(event) {
    return this.#viewer.transform.toImage(this.#at(event));
  }
}
