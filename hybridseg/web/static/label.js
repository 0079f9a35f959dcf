// The labelling page: connects the parts, and keeps them in step with the server.

import { Api, imagePath } from "./api.js";
import { BandChoice } from "./bands.js";
import { makeBorder } from "./border.js";
import { listenToButtons } from "./buttons.js";
import { Choice } from "./choice.js";
import { ClassDialog } from "./classdialog.js";
import { ClassList } from "./classes.js";
import { Corners } from "./corners.js";
import { Crosshair } from "./crosshair.js";
import { byId, wordsFor } from "./dom.js";
import { makeDrawer } from "./drawer.js";
import { Finish } from "./finish.js";
import { pointerHooks, previewHooks, queueHooks } from "./hooks.js";
import { ImageList } from "./images.js";
import { makeLayers, paintTools } from "./ink.js";
import { Jobs } from "./jobs.js";
import { labelCommands, listenToKeys } from "./keys.js";
import { Messages } from "./messages.js";
import { Minimap } from "./minimap.js";
import { Settling } from "./overlay.js";
import { describeItem, showPen, showProgress, showState, showTaught, showWalk, showZoom } from "./panel.js";
import { ClassPicker } from "./picker.js";
import { PointerInput } from "./pointer.js";
import { Preview } from "./preview.js";
import { ChangeQueue } from "./queue.js";
import { Kept, Settings } from "./settings.js";
import { Shares } from "./shares.js";
import { Smoothing } from "./smoothing.js";
import { Thumbs } from "./thumbs.js";
import { Tone } from "./tone.js";
import { Drawing } from "./tools.js";
import { Viewer } from "./viewer.js";
import { Walk } from "./walk.js";
import { Wand } from "./wand.js";
import { listenToFiles, refreshClasses, runImage, saveClasses, setSmoothing } from "./work.js";

const SILENT = "The server does not answer; trying again every two seconds. Your strokes are kept.";
const POLYGON = wordsFor({
  touch: "Tap the first corner to close it; Undo removes a corner.",
  keys: "Enter or a click on the first corner closes it, Backspace removes a corner, Esc drops it.",
});
const OPEN = wordsFor({
  touch: "Close the polygon (tap its first corner) or undo its corners first.",
  keys: "Close the polygon (Enter) or drop it (Esc) first.",
});
const LAYERS = ["opacity", "show-scribbles", "show-result", "live"]; // fields
const GONE =
  "The program was restarted, or this address is old. Open the address that the program printed; what is not saved yet stays in this tab.";

class LabelPage {
  state = null; // of the open image, as last received from the server
  session = null;
  canvas = byId("view");
  closeDrawer = makeDrawer(byId("images-toggle"), byId("filter"));
  messages = new Messages(byId("banner"), byId("status"));
  api = new Api(() => this.messages.clear("server"));
  settling = new Settling();
  settings = new Settings(document);
  kept = new Kept(sessionStorage, "hybridseg-view", this.api.run); // how the images are looked at
  tone = new Tone(() => this.viewer.refresh(), this.kept);
  bands = new BandChoice(() => this.state && this.viewer.spoil("picture", everything(this.state)), this.kept);
  #wanted = null; // id of the image that is to be open
  #tried = null; // and of the one that was asked for last
  #beforeWalk = null; // the view before the walk
  #renewing = false;
  #tellsPolygon = false;

  constructor() {
    this.viewer = new Viewer(this.canvas, (path, signal) => this.api.getBlob(path, signal), (error) => this.tellWaiting(error));
    this.classList = new ClassList(byId("classes"), () => this.viewer.refresh());
    this.classDialog = new ClassDialog((classes) => saveClasses(this, classes));
    this.choice = new Choice(() => this.#choiceChanged(), () => this.viewer.transform.scale);
    this.drawing = new Drawing({
      choice: () => this.whatToDraw(),
      transform: this.viewer.transform,
      takeArea: () => this.wand.take(),
      onStroke: (stroke) => this.change("strokes", stroke),
      onChange: () => this.#drawingChanged(),
      onPick: (point) => this.corners.pick(point),
    });
    this.corners = new Corners(this);
    this.crosshair = new Crosshair(this.canvas, this.viewer, this.drawing, () => this.whatToDraw());
    this.input = new PointerInput(this.canvas, this.viewer, pointerHooks(this));
    this.queue = new ChangeQueue(this.api, queueHooks(this));
    this.jobs = new Jobs(this.api, (state) => this.heed(state));
    this.preview = new Preview(this.api, () => this.#previewWish(), previewHooks(this));
    this.smoothing = new Smoothing((values) => setSmoothing(this, values));
    this.picker = new ClassPicker(this);
    this.wand = new Wand(this);
    this.shares = new Shares(this);
    this.finish = new Finish(this);
    this.layers = makeLayers(this);
    this.minimap = new Minimap(this.viewer, () => this.layers.picture);
    this.thumbs = new Thumbs(this.api, (id, fault) => this.images.showThumb(id, fault));
    const { thumbs } = this;
    this.images = new ImageList(byId("images"), { describe: describeItem, onOpen: (id) => this.open(id), thumbs });
  }

  /** Fetch the session, listen, and open the image that the address names, or the first one. */
  async start() {
    while (!this.session) this.session = await this.#openSession();
    this.walk = new Walk(this.session.window);
    this.setClasses(this.session);
    this.smoothing.show(this.session);
    this.images.setItems(this.session.images.map((item) => ({ ...item, id: String(item.id) })));
    showProgress(this.images.items);
    this.#listen();
    this.#choiceChanged();
    this.queue.send();
    if (!this.session.classes.length) this.classDialog.open([]);
    if (this.images.items.length) await this.open(this.#imageOfHash() ?? this.images.items[0].id);
    else this.messages.say("There are no images in this folder.");
  }

  /** Use a new class list, {classes, classes_version}; strokes that are not sent yet keep their class. */
  setClasses({ classes, classes_version }) {
    Object.assign(this.session, { classes, classes_version });
    this.classList.setClasses(classes);
    this.queue.setClasses(classes);
    this.input.updateCursor();
    this.viewer.refresh();
  }

  /** Open an image, and say so, or say `words`. */
  async open(id, words = null) {
    this.closeDrawer();
    this.#mark(id);
    this.messages.pass();
    this.#tried = id;
    if (this.#wanted === id) return;
    this.drawing.finish();
    this.#wanted = id;
    document.body.dataset.image = "";
    const { name } = this.images.items.find((item) => item.id === id);
    this.messages.say(`Opening ${name}…`, true);
    const state = await this.ask(() => this.api.get(imagePath(id)));
    if (this.#wanted !== id) return;
    if (state) return this.#show(state, words);
    // The image that is seen and drawn on stays the one that the list names.
    this.#wanted = this.state?.id ?? null;
    if (this.state) this.#mark(this.state.id);
    document.body.dataset.image = this.state?.id ?? "";
    this.thumbs.start();
    this.messages.rest();
  }

  /** Open the next image of the list, or the previous one; after one that could not be opened, the one beyond it. */
  openNeighbour(step, test, words) {
    const item = this.images.neighbour(step, test, this.#tried);
    if (item) this.open(item.id, words);
    else this.messages.say(words ?? "There is no further image.");
  }

  /** Queue a stroke, an undo or a redo. */
  change(action, stroke = null) {
    if (!this.state) return;
    this.corners.forget();
    if (action !== "strokes") {
      // What is not drawn yet is no change: undo takes back a corner or the selected area, and redo draws neither.
      if (this.drawing.polygonOpen) return action === "undo" ? this.drawing.removeCorner() : this.messages.say(OPEN);
      if (this.wand.forget() && action === "undo") return;
      this.drawing.finish();
      if (!this.queue.items.length && !this.state[`can_${action}`]) return this.messages.say(`There is nothing to ${action}.`);
    }
    this.queue.add(this.state.id, action, stroke, this.classList.classes[stroke?.class]?.name);
    this.viewer.refresh();
  }

  /** Cancel the stroke in progress, or be done with the polygon; without one, choose the next class. */
  escape() {
    if (this.picker.armed) this.picker.arm(false);
    else if (!this.drawing.cancel() && !this.corners.drop()) this.classList.pickNext();
  }

  /** Label the whole image. */
  run() {
    return runImage(this);
  }

  /** Write the files of the image; then open the next one, if asked to. */
  accept(goOn) {
    return this.finish.accept(goOn);
  }

  /** Hide all layers over the photo, or show them again. */
  setBare(bare) {
    this.viewer.bare = bare;
    this.viewer.refresh();
  }

  /** Start or stop walking over the image window by window. */
  toggleWalk() {
    const { transform } = this.viewer;
    this.walk.on = !this.walk.on;
    if (this.walk.on) this.#beforeWalk = transform.place;
    else if (this.#beforeWalk) this.viewer.goTo(this.#beforeWalk);
    this.messages.rest();
    this.#walkChanged();
  }

  /** Go to another window. */
  stepWalk(by) {
    if (!this.walk.on) return this.toggleWalk();
    if (this.walk.step(by)) this.messages.rest();
    else this.messages.say(by > 0 ? "This is the last window." : "This is the first window.");
    this.#walkChanged();
  }

  /** Apply the state of an image from the server, unless a newer one was applied already. */
  heed(state, bounds = null) {
    const { heads, items } = this.queue;
    state.id = String(state.id);
    if (heads.get(state.id)?.version > state.version) return;
    if (state.classes_version !== this.session.classes_version) this.#renewClasses();
    if (!items.some(({ image }) => image === state.id)) heads.set(state.id, state);
    this.images.update(state.id, { state: state.state });
    showProgress(this.images.items);
    const before = this.state;
    if (before?.id !== state.id) return;
    this.state = state;
    if (before.result_version !== state.result_version) this.viewer.spoil("result", bounds ?? everything(state));
    if (bounds) this.viewer.spoil("scribbles", bounds);
    this.shares.update();
    showState(state);
    showTaught(this);
  }

  /** Fetch the state of an image and its tiles again, if it is open. */
  async reload(id) {
    if (this.state?.id !== id) return;
    // Whoever changed the image may have changed the classes too.
    const state = await this.ask(() => refreshClasses(this).then(() => this.api.get(imagePath(id))));
    if (!state || this.state?.id !== id) return;
    this.queue.heads.delete(id);
    this.heed(state, everything(state));
    this.viewer.spoil("result", everything(state));
    this.preview.schedule();
  }

  /** Run a request; an error is shown in a banner, and null returned. */
  async ask(act) {
    try {
      return await act();
    } catch (error) {
      if (!this.tellWaiting(error)) this.messages.raise("asked", error.message);
      if (error.kind === "conflict") this.reload(this.state.id);
      return null;
    }
  }

  #mark(id) {
    history.replaceState(null, "", `#${encodeURIComponent(id)}`);
    this.images.setCurrent(id);
  }

  // An import, another tab or another program has changed the classes.
  async #renewClasses() {
    if (this.#renewing) return;
    this.#renewing = true;
    await this.ask(() => refreshClasses(this));
    this.#renewing = false;
  }

  async #openSession() {
    const session = await this.ask(() => this.api.openSession());
    if (!session) await new Promise((resolve) => setTimeout(resolve, 2000));
    return session;
  }

  #show(state, words) {
    state.id = String(state.id);
    this.settling.clear();
    this.preview.hide();
    this.state = state;
    this.queue.heads.delete(state.id);
    this.heed(state);
    this.walk.setImage(state);
    this.bands.setCount(state.bands);
    this.viewer.open(state, Object.values(this.layers));
    this.tone.setImage(state.id);
    this.choice.adapt();
    this.#beforeWalk = this.viewer.transform.place;
    this.#walkChanged();
    document.title = `${state.name} – hybridseg label`;
    this.messages.rest(state.name);
    if (words) this.messages.say(words);
    this.input.updateCursor();
    if (state.job) this.jobs.follow(state);
  }

  /** What a stroke would be now; without classes nothing can be drawn. */
  whatToDraw() {
    const { tool, layer, width } = this.choice;
    return { tool: this.classList.current && this.state ? tool : "hand", layer, width, class: this.classList.index };
  }

  #choiceChanged() {
    const tool = this.drawing.stroke?.tool ?? "wand";
    if (tool !== this.choice.tool) this.drawing.finish();
    this.wand.schedule();
    showPen(this.choice);
    this.input.updateCursor();
    this.preview.schedule();
    this.viewer.refresh();
  }

  // While a polygon is open the status line says how to close it.
  #drawingChanged() {
    const { polygonOpen } = this.drawing;
    if (polygonOpen !== this.#tellsPolygon) this.messages.rest(polygonOpen ? POLYGON : (this.state?.name ?? ""));
    if (polygonOpen !== this.#tellsPolygon) byId("undo").disabled = !polygonOpen && !this.state?.can_undo;
    this.#tellsPolygon = polygonOpen;
    this.viewer.refresh();
  }

  #layersChanged() {
    const opacity = byId("opacity").valueAsNumber / 100;
    // Scribbles stay more opaque, so that they are seen on a result of the same colour.
    Object.assign(this.layers.scribbles, { opacity: 1 - (1 - opacity) ** 2.5, visible: byId("show-scribbles").checked });
    Object.assign(this.layers.result, { opacity, visible: byId("show-result").checked });
    this.preview.schedule();
    this.viewer.refresh();
  }

  #walkChanged() {
    showWalk(this.walk);
    if (this.walk.frame) this.viewer.fit(this.walk.frame, 28);
    else this.viewer.viewChanged();
  }

  #previewWish() {
    const { state } = this;
    const wanted = byId("live").checked && byId("show-result").checked && this.choice.layer === "scribbles";
    if (!state || !wanted || state.job || !(state.n_strokes || state.suggested) || (state.has_result && !state.stale)) return null;
    const [row0, col0, row1, col1] = this.walk.frame ?? this.viewer.transform.visible();
    return { id: state.id, version: state.version, window: [row0, col0, row1 - row0, col1 - col0] };
  }

  #imageOfHash() {
    const id = decodeURIComponent(location.hash.slice(1));
    return this.images.items.find((item) => item.id === id)?.id;
  }

  #listen() {
    const commands = labelCommands(this);
    commands.list(byId("help-keys"));
    listenToKeys(this, commands);
    listenToButtons(this);
    this.kept.keepFields(...LAYERS);
    for (const id of LAYERS) byId(id).addEventListener("input", () => this.#layersChanged());
    for (const id of ["filter", "state-filter"]) {
      byId(id).addEventListener("input", () => this.images.setFilter(byId("filter").value, byId("state-filter").value));
    }
    makeBorder(byId("border"), byId("image-panel"), this.settings);
    listenToFiles(this);
    this.settings.on("wheel", (value) => (this.input.wheelSetsPen = value === "pen"));
    this.settings.on("minimap", (value) => this.minimap.want(value === "shown"));
    this.settings.on("pen", (value) => this.choice.setUnit(value));
    byId("show-part").open = this.settings.get("show") ?? (window.innerHeight >= 700 && window.innerWidth > 620);
    this.viewer.above.push((ctx) => paintTools(this, ctx));
    this.viewer.on("view", () => {
      showZoom(this.viewer.transform.scale);
      showPen(this.choice);
      this.drawing.hoverPoint = this.input.point;
      this.preview.schedule();
    });
    this.viewer.on("tiles", (missing) => {
      document.body.dataset.tiles = missing;
      this.settling.settle(this.viewer);
    });
    this.viewer.on("complete", () => {
      document.body.dataset.image = this.state.id;
      this.thumbs.start();
    });
    window.addEventListener("hashchange", () => this.#imageOfHash() && this.open(this.#imageOfHash()));
    window.addEventListener("pagehide", () => this.drawing.finish());
    window.addEventListener("beforeunload", (event) => this.queue.items.length && event.preventDefault());
    this.#layersChanged();
  }

  /** Say that the server is silent, or no longer knows this page; false for any other error. */
  tellWaiting(error, key = "server") {
    if (error.kind !== "forbidden" && error.kind !== "network") return false;
    // One banner is enough.
    if (key === "unsent") this.messages.clear("server");
    else if (this.queue.trouble) return true;
    this.messages.raise(key, error.kind === "forbidden" ? GONE : SILENT);
    return true;
  }
}

function everything({ rows, cols }) {
  return [0, 0, rows, cols];
}

new LabelPage().start();
