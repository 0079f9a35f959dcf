// The smart wand: proposes an area under the pointer, selects and grows it, and applies it as a polygon of the class.

import { imagePath } from "./api.js";
import { PixelMap } from "./areas.js";
import { byId, press, wordsFor } from "./dom.js";

const DELAY_MS = 200;
const MAX_POINTS = 20000; // that the server takes of a stroke
const MIN_SCALE = 6; // of superpixels, in pixels of the map
const STEP = 1.25; // of the size of areas
const CLICK = 4; // CSS pixels that a click may move
const MODES = ["new", "add", "remove"];
const SELECTED = wordsFor({
  touch: "Tap the area again or Apply to draw it; Add, Remove and Drop change it.",
  keys: "Click the area again or press Enter to apply it; Shift adds, Alt removes, Esc drops it.",
});
const WAIT = "The areas in this view are not ready yet; try again in a moment.";
const ELSEWHERE = "Apply the area or drop it before you go on outside of the part in which it was chosen.";

/**
 * The tool with which one clicks areas together. Superpixels of the window in view come from the server once; with a
 * network of the person's (`session.segments`) clicks and boxes are sent, and the area comes back.
 */
export class Wand {
  #page;
  #map = null; // superpixels of the view, {id, key, map}
  #area = null; // what is selected
  #proposal = null; // {map, index, area} of the last point
  #press = null; // {mode, from, before, crossed} while the button is down
  #prompts = null; // {view, points, box} that made the area
  #request = null;
  #timer = 0;
  #mode = "new";

  constructor(page) {
    this.#page = page;
    for (const mode of MODES) byId(`wand-${mode}`).addEventListener("click", () => this.#setMode(mode));
    byId("wand-apply").addEventListener("click", () => this.apply());
    byId("wand-drop").addEventListener("click", () => this.drop());
    byId("wand-scale").addEventListener("input", () => this.schedule());
    byId("wand-network").addEventListener("change", () => this.drop());
    page.viewer.on("view", () => this.schedule());
    page.viewer.above.push((ctx) => this.#paint(ctx));
    this.#show();
  }

  /** Whether it is the chosen tool and can be used. */
  get active() {
    const { choice, state, classList } = this.#page;
    return choice.tool === "wand" && Boolean(state && classList.current);
  }

  /** The tool was chosen or another one, or the view has moved: fetch its superpixels soon. */
  schedule() {
    byId("wand-bar").hidden = this.#page.choice.tool !== "wand";
    byId("wand-network-choice").hidden = !this.#page.session?.segments;
    clearTimeout(this.#timer);
    if (this.active) this.#timer = setTimeout(() => this.#fetch(), DELAY_MS);
  }

  /** Make areas larger or smaller by steps; false when it is not the chosen tool. */
  resize(steps) {
    if (!this.active) return false;
    const field = byId("wand-scale");
    field.valueAsNumber = field.valueAsNumber * STEP ** steps + Math.sign(steps);
    this.schedule();
    return true;
  }

  /** The button goes down at a point. */
  down(point, { shiftKey = false, altKey = false } = {}) {
    const mode = altKey ? "remove" : shiftKey ? "add" : this.#mode;
    this.#press = { mode, from: point, before: this.#area?.copy() ?? null, crossed: null };
    if (!this.#asksNetwork && !(mode === "new" && this.#covers(point))) this.#cross(point);
  }

  /** The pointer moves on while the button is down. */
  move(points) {
    if (!this.#press) return;
    for (const point of points) {
      const before = this.#press.to ?? this.#press.from;
      this.#press.to = point;
      if (!this.#asksNetwork && this.#hasMoved()) for (const between of this.#way(before, point)) this.#cross(between);
    }
    this.#page.viewer.refresh();
  }

  /** The button goes up: a click on the selected area applies it. */
  up(point) {
    const { mode, from } = this.#press ?? {};
    const [clicked, box] = [!this.#hasMoved(), this.#press?.to];
    const applies = this.#press && clicked && mode === "new" && !this.#press.crossed && this.#covers(point);
    this.#press = null;
    if (!mode) return;
    if (applies) this.apply();
    else if (this.#asksNetwork) this.#prompt(mode, clicked ? null : [from, box ?? point], point);
    this.#show();
  }

  /** What was begun with the last press does not count. */
  cancel() {
    if (!this.#press) return false;
    this.#area = this.#press.before;
    this.#press = null;
    this.#show();
    return true;
  }

  /** Press and release at a point; returns words for what happened. */
  tap(point, event) {
    this.down(point, event);
    this.up(point);
    return this.#area ? SELECTED : this.#page.queue.items.length ? "Applied." : "Nothing is selected.";
  }

  /** Do what a key means while an area is selected; false for other keys. */
  handleKey({ key }) {
    if (!(this.#area || this.#prompts) || !this.active) return false;
    if (key === "Enter") this.apply();
    else if (key === "Escape") this.drop();
    else return false;
    return true;
  }

  /** Drop the selected area; false where nothing is selected. */
  forget() {
    const had = Boolean(this.#area || this.#prompts);
    if (had) this.drop();
    return had;
  }

  /** Draw the selected area with the current class. */
  apply() {
    const stroke = this.take();
    if (stroke) this.#page.change("strokes", stroke);
  }

  /** Forget the selected area. */
  drop() {
    if (this.#area) this.#page.messages.rest();
    this.#area = this.#prompts = null;
    // From nothing nothing can be removed.
    if (this.#mode === "remove") this.#mode = "new";
    this.#show();
    this.schedule();
  }

  /** The stroke of the selected area, which is then no longer selected; null where nothing is. */
  take() {
    if (!this.#area) return null;
    const { window, shape } = this.#area.map;
    const points = this.#area.runs();
    if (points.length > MAX_POINTS) {
      this.#page.messages.say("This area is too ragged to be drawn at once; zoom in, or choose larger areas.");
      return null;
    }
    const { layer, class: index } = this.#page.whatToDraw();
    this.drop();
    return points.length ? { layer, tool: "wand", class: index, width: 1, points, window, shape } : null;
  }

  get #asksNetwork() {
    return Boolean(this.#page.session.segments) && byId("wand-network").checked;
  }

  // Whether the areas of the window in view are still to come.
  get #waiting() {
    return this.#map?.id !== this.#page.state?.id || document.body.dataset.wand === "busy";
  }

  #covers(point) {
    return Boolean(this.#area?.has(this.#area.map.indexOf(point)));
  }

  #hasMoved() {
    if (!this.#press?.to) return false;
    const { transform } = this.#page.viewer;
    const [[x0, y0], [x1, y1]] = [transform.toScreen(this.#press.from), transform.toScreen(this.#press.to)];
    return Math.hypot(x1 - x0, y1 - y0) > CLICK;
  }

  // A fast pointer reports few points: those between them, close enough to miss no superpixel.
  #way(from, to) {
    const { scale } = this.#page.viewer.transform;
    const steps = Math.max(Math.ceil((Math.hypot(to[0] - from[0], to[1] - from[1]) * scale) / CLICK), 1);
    return Array.from({ length: steps + 1 }, (_, k) => from.map((value, axis) => value + ((to[axis] - value) * k) / steps));
  }

  // Add the superpixel at a point to the selection, or remove it; the first of a new one takes the place of the old one.
  #cross(point) {
    const area = this.#propose(point);
    if (!area && this.#waiting) return this.#page.messages.say(WAIT);
    if (!area) return this.#area && this.#page.messages.say(ELSEWHERE);
    const pressed = this.#press;
    if (pressed.mode === "new" && !pressed.crossed && !this.#covers(pressed.from)) this.#area = null;
    if (pressed.crossed === area) return;
    pressed.crossed = area;
    if (pressed.mode === "remove") this.#area?.remove(area);
    else this.#area = (this.#area ?? area.copy()).add(area);
    if (this.#area && !this.#area.size) this.#area = null;
    this.#page.viewer.refresh();
  }

  #propose(point) {
    const map = this.#map?.id === this.#page.state?.id ? this.#map?.map : null;
    const index = map?.indexOf(point) ?? -1;
    if (index < 0) return null;
    const last = this.#proposal;
    if (last?.map === map && last.area.has(index)) return last.area;
    const area = map.areaAt(index);
    this.#proposal = { map, area };
    return area;
  }

  // While an area is selected its window stays, so that more can be added to it.
  #view() {
    if (this.#area) return { window: this.#area.map.window, shape: this.#area.map.shape };
    const { transform } = this.#page.viewer;
    const [row0, col0, row1, col1] = transform.visible();
    const [rows, cols] = [row1 - row0, col1 - col0];
    const shape = [rows, cols].map((n) => Math.ceil(n * Math.min(transform.scale, 1)));
    return { window: [row0, col0, rows, cols], shape };
  }

  // The size of areas is set in pixels of the screen, and sent in those of the map.
  #scaleOf({ window: [, , rows], shape }) {
    const scale = (byId("wand-scale").valueAsNumber * shape[0]) / (rows * this.#page.viewer.transform.scale);
    return Math.max(Math.round(scale), MIN_SCALE);
  }

  async #fetch() {
    const { api, state, bands } = this.#page;
    const view = this.#view();
    const wish = { ...view, scale: this.#scaleOf(view) };
    const key = JSON.stringify([state.id, wish, bands.query]);
    if (this.#asksNetwork || wish.window[2] * wish.window[3] === 0 || this.#map?.key === key) return;
    const found = await this.#ask(imagePath(state.id, "superpixels") + bands.query, wish);
    // Meanwhile an area may have been selected in the superpixels of before.
    const fits = !this.#area || String(this.#area.map.window) === String(wish.window);
    if (found && fits) this.#map = { id: state.id, key, map: found };
    this.#page.viewer.refresh();
  }

  // Ask the server for a map of a view; null when it fails, or another one was asked for.
  async #ask(path, wish) {
    this.#request?.abort();
    const request = new AbortController();
    this.#request = request;
    document.body.dataset.wand = "busy";
    let found = null;
    try {
      found = await this.#page.api.postForMap(path, wish, request.signal);
    } catch (error) {
      if (this.#request !== request) return null;
      if (!this.#page.tellWaiting(error)) this.#page.messages.say(error.message);
    }
    if (this.#request !== request) return null;
    this.#request = null;
    document.body.dataset.wand = "ready";
    return found && new PixelMap(wish.window, found.shape, found.values);
  }

  // Add a point or a box to what the network is asked, and select what it answers.
  async #prompt(mode, box, point) {
    const { api, state, bands } = this.#page;
    const kept = mode === "new" && box ? null : this.#prompts;
    const prompts = kept ?? { view: this.#view(), points: [], box: null };
    const asked = { ...prompts, box: box ?? prompts.box };
    if (!box) asked.points = [...prompts.points, [...point, mode === "remove" ? 0 : 1]];
    this.#page.messages.say("Asking the network…", true);
    const path = imagePath(state.id, "segment") + bands.query;
    const found = await this.#ask(path, { ...prompts.view, points: asked.points, box: asked.box?.flat() ?? null });
    if (!found || this.#page.state !== state) return this.#page.messages.rest();
    const area = found.whole();
    this.#prompts = asked;
    this.#area = area.size ? area : null;
    this.#page.messages.say(this.#area ? SELECTED : "The network finds nothing there.");
    this.#show();
  }

  #setMode(mode) {
    this.#mode = mode;
    this.#show();
  }

  #show() {
    for (const mode of MODES) press(byId(`wand-${mode}`), mode === this.#mode);
    byId("wand-apply").disabled = !this.#area;
    byId("wand-drop").disabled = !(this.#area || this.#prompts);
    document.body.dataset.area = this.#area?.size ?? 0;
    if (this.#area) this.#page.messages.say(SELECTED);
    this.#page.viewer.refresh();
  }

  #paint(ctx) {
    if (!this.active) return;
    const { viewer, crosshair, drawing, classList } = this.#page;
    const point = crosshair.visible ? crosshair.point : drawing.hoverPoint;
    if (point && !this.#press && !this.#asksNetwork) this.#propose(point)?.paint(ctx, viewer.transform, null);
    this.#area?.paint(ctx, viewer.transform, classList.current.color);
    if (this.#asksNetwork && this.#hasMoved()) paintBox(ctx, [this.#press.from, this.#press.to].map((at) => viewer.transform.toScreen(at)));
  }
}

function paintBox(ctx, [[x0, y0], [x1, y1]]) {
  for (const [style, width] of [["rgba(0, 0, 0, 0.8)", 3], ["#fff", 1.5]]) {
    ctx.strokeStyle = style;
    ctx.lineWidth = width;
    ctx.strokeRect(x0, y0, x1 - x0, y1 - y0);
  }
}
