// Drawing by keyboard: arrow keys move a crosshair, Space does what the mouse button does.

const STEP = 16; // CSS pixels
const MARGIN = 24;

/** A crosshair on the canvas, visible while the canvas has the focus and no pointer is used. */
export class Crosshair {
  point = null;
  visible = false;
  #canvas;
  #viewer;
  #drawing;
  #choice;

  constructor(canvas, viewer, drawing, choice) {
    this.#canvas = canvas;
    this.#viewer = viewer;
    this.#drawing = drawing;
    this.#choice = choice;
  }

  /** Show it where the pointer is, or where it was, or in the middle of the view. */
  show() {
    const { transform } = this.#viewer;
    this.point = this.#drawing.hoverPoint ?? this.point;
    if (!this.point || !this.#inside(transform.toScreen(this.point))) {
      this.point = transform.toImage([transform.width / 2, transform.height / 2]);
    }
    this.#setVisible(true);
  }

  /** Hide it. */
  hide() {
    if (this.visible) this.#setVisible(false);
  }

  /** Move by steps of the screen, or by single pixels of the image; a pen that is down draws. */
  move(dx, dy, fine) {
    if (!this.visible) return this.show();
    const step = fine ? 1 : STEP / this.#viewer.transform.scale;
    this.point = [this.point[0] + dy * step, this.point[1] + dx * step];
    this.#follow();
    this.#drawing.move([this.point]);
  }

  /** Put the pen down or lift it, add a corner, or fill; returns words for what happened. */
  press() {
    if (!this.visible) return this.show();
    const { tool } = this.#choice();
    if (tool === "fill") return this.#drawing.fill(this.point) ?? "Filled here.";
    if (tool === "polygon") return this.#drawing.addCorner(this.point) ?? "Corner added; Enter closes the polygon.";
    if (tool === "hand") return "The hand does not draw: choose a tool, for example the pen (P).";
    if (this.#drawing.stroke) return this.#drawing.finish() ?? "Pen lifted.";
    return this.#drawing.down(this.point) ?? "Pen down: the arrow keys draw, Space lifts it.";
  }

  /** Draw it. */
  paint(ctx) {
    if (!this.visible) return;
    const [x, y] = this.#viewer.transform.toScreen(this.point);
    for (const [color, width] of [["#000", 3], ["#fff", 1]]) {
      ctx.strokeStyle = color;
      ctx.lineWidth = width;
      ctx.beginPath();
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        ctx.moveTo(x + 4 * dx, y + 4 * dy);
        ctx.lineTo(x + 16 * dx, y + 16 * dy);
      }
      ctx.stroke();
    }
  }

  #setVisible(visible) {
    this.visible = visible;
    this.#canvas.dataset.keyboard = visible ? "on" : "off";
    this.#viewer.refresh();
  }

  #follow() {
    const { transform } = this.#viewer;
    const [x, y] = transform.toScreen(this.point);
    const beyond = (value, size) => Math.min(value - MARGIN, 0) + Math.max(value - size + MARGIN, 0);
    const [dx, dy] = [beyond(x, transform.width), beyond(y, transform.height)];
    if (dx || dy) this.#viewer.pan(-dx, -dy);
  }

  #inside([x, y]) {
    const { width, height } = this.#viewer.transform;
    return x >= 0 && y >= 0 && x <= width && y <= height;
  }
}
