// The review page: two results of each image side by side, the images that need most attention first.

import { Api } from "./api.js";
import { Commands } from "./commands.js";
import { Decisions, lacksPicture, markOf } from "./decisions.js";
import { byId, make } from "./dom.js";
import { makeDrawer } from "./drawer.js";
import { ImageList } from "./images.js";
import { Messages } from "./messages.js";
import { showWhere, showZoom } from "./panel.js";
import { PointerInput } from "./pointer.js";
import { Swipe } from "./swipe.js";
import { Viewer } from "./viewer.js";

const DIFFERS = "#e61e5a"; // as the server draws it
const NO_UNCERTAINTY = "No image has an uncertainty: run it with --probabilities.";
const PAN = { ArrowLeft: [64, 0], ArrowRight: [-64, 0], ArrowUp: [0, 64], ArrowDown: [0, -64] };

class ReviewPage {
  item = null; // the one shown
  items = [];
  canvas = byId("view");
  closeDrawer = makeDrawer(byId("images-toggle"), byId("filter"));
  messages = new Messages(byId("banner"), byId("status"));
  api = new Api(() => this.messages.clear("server"));

  constructor() {
    this.viewer = new Viewer(this.canvas, (path, signal) => this.api.getBlob(path, signal), (error) => this.#tell(error));
    this.input = new PointerInput(this.canvas, this.viewer);
    this.swipe = new Swipe(byId("divider"), byId("swipe"), () => this.#layersChanged());
    this.images = new ImageList(byId("images"), {
      describe: (item) => ({ mark: markOf(item), note: this.#note(item) }),
      onOpen: (id) => this.open(id),
    });
    const layer = (name, smooth = false) => ({ name, smooth, visible: true, path: (...tile) => this.#tilePath(name, tile) });
    this.layers = {
      picture: layer("picture", true),
      manual: layer("manual"),
      automatic: layer("automatic"),
      disagreement: layer("disagreement"),
    };
  }

  /** Fetch the list, listen, and open the image that the address names, or the first one. */
  async start() {
    const review = await this.api.get("/api/review").catch((error) => this.#tell(error));
    if (!review) return;
    this.sides = review.sides;
    this.#read(review);
    this.compares = this.items.some(hasBoth);
    this.#nameSides();
    const differs = { name: `${this.sides.join(" and ").toLowerCase()} disagree`, color: DIFFERS };
    if (!review.judged) differs.name = "they disagree";
    byId("classes").replaceChildren(...[...(this.compares ? [differs] : []), ...review.classes].map(legendEntry));
    for (const id of ["decision-section", "state-filter", "help-decisions"]) byId(id).hidden = !review.judged;
    if (review.judged) this.decisions = new Decisions(this);
    byId("help-divider").hidden = !this.compares;
    if (this.items.every(({ uncertainty }) => uncertainty === null)) {
      const option = byId("order").querySelector("[value=uncertainty]");
      option.disabled = true;
      option.title = byId("order").title = NO_UNCERTAINTY;
    }
    if (!this.compares) {
      const [disagreement, uncertainty] = byId("order").options;
      byId("order").value = uncertainty.disabled ? "name" : "uncertainty";
      disagreement.remove();
    }
    if (review.skipped.length) this.messages.raise("skipped", `Left out: ${review.skipped.join(" ")}`);
    this.#listen();
    this.#sort();
    const named = decodeURIComponent(location.hash.slice(1));
    const first = this.items.find(({ id }) => id === named) ?? this.images.items[0];
    if (first) await this.open(first.id);
    else this.messages.say("There is nothing to review.");
  }

  /** Open an image. */
  async open(id) {
    this.closeDrawer();
    if (this.item?.id === id && !this.item.fault) return;
    this.item = this.items.find((item) => item.id === id);
    const wasBroken = Boolean(this.item.fault);
    this.item.fault = undefined;
    document.body.dataset.image = "";
    history.replaceState(null, "", `#${encodeURIComponent(id)}`);
    this.images.setCurrent(id);
    this.viewer.open(this.item, Object.values(this.layers));
    this.input.updateCursor();
    byId("title").textContent = this.item.name;
    document.title = `${this.item.name} – hybridseg review`;
    this.#showItem();
    let failure = null;
    const more = await this.api.get(`/api/review/${encodeURIComponent(id)}`).catch((error) => {
      failure = error;
    });
    // The list may be a newer one by now.
    const item = this.items.find((one) => one.id === id);
    item.here ||= !failure;
    if (failure && !(item.here && failure.kind === "network")) item.fault = failure.message;
    if (this.item.id !== id) return;
    if (failure) this.#tell(failure);
    if (failure || wasBroken) this.#sort();
    this.#showItem();
    showConfusions(more?.confusion ?? []);
  }

  // Show what is known of the image on view, and what can be done with it.
  #showItem() {
    this.#layersChanged();
    this.messages.rest(lacksPicture(this.item) || sentence(this.item));
    this.decisions?.show();
  }

  /** Use a newer list, with the same image on view. */
  use(review) {
    const { has } = this.item;
    this.#read(review);
    this.item = this.items.find(({ id }) => id === this.item.id);
    this.#sort();
    // Ground truth came or went: its tiles are fetched.
    if (String(has) !== String(this.item.has)) this.viewer.spoil("manual", [0, 0, this.item.rows, this.item.cols]);
    this.#layersChanged();
    this.decisions?.show();
  }

  #read({ items }) {
    const faults = new Map(this.items.map(({ id, fault }) => [id, fault]));
    this.items = items.map((item) => ({ ...item, id: String(item.id), state: item.decision ?? "open", fault: faults.get(item.id) }));
    const decided = this.items.filter(({ decision }) => decision).length;
    byId("image-count").textContent = decided ? `${decided} of ${items.length} decided` : `${items.length} in all`;
  }

  #nameSides() {
    const [left, right] = this.sides;
    byId("left-side").textContent = left;
    byId("right-side").textContent = right;
    byId("sides").textContent = `${left} → ${right}`;
    byId("swipe").setAttribute("aria-label", `Divider between ${left} and ${right}`);
  }

  #tilePath(name, tile) {
    const there = !lacksPicture(this.item) && (name === "picture" || this.item.has.includes(name));
    return there && ["/api/review", encodeURIComponent(this.item.id), name, ...tile].join("/");
  }

  #note(item) {
    if (byId("order").value === "uncertainty") return decimals(item.uncertainty);
    if (item.disagreement !== null) return percent(item.disagreement);
    if (item.uncertainty !== null) return `uncertainty ${decimals(item.uncertainty)}`;
    return item.has.includes("manual") ? "manual only" : "automatic only";
  }

  #sort() {
    const order = byId("order").value;
    // Of those that do not differ in the disagreement, which may have none, the least certain come first.
    const measures = { disagreement: ["disagreement", "uncertainty"], uncertainty: ["uncertainty"], name: [] }[order];
    const rank = (a, b) => measures.reduce((found, measure) => found || (b[measure] ?? -1) - (a[measure] ?? -1), 0);
    const byName = (a, b) => a.name.localeCompare(b.name, undefined, { numeric: true });
    this.images.setItems([...this.items].sort((a, b) => rank(a, b) || byName(a, b)));
    if (this.item) this.images.setCurrent(this.item.id);
  }

  #layersChanged() {
    const { manual, automatic, disagreement } = this.layers;
    const opacity = byId("opacity").valueAsNumber / 100;
    const shown = byId("show-labels").checked;
    // With only one map there is nothing to divide.
    const both = hasBoth(this.item);
    this.swipe.setUsed(both);
    for (const id of ["swipe-bar", "confusion-section", "disagreement-check"]) byId(id).hidden = !both;
    Object.assign(manual, { opacity, visible: shown, clip: both ? [0, this.swipe.share] : [0, 1] });
    Object.assign(automatic, { opacity, visible: shown, clip: both ? [this.swipe.share, 1] : [0, 1] });
    Object.assign(disagreement, { opacity, visible: byId("show-disagreement").checked });
    byId("show-disagreement").disabled = !this.item.has.includes("disagreement");
    this.viewer.refresh();
  }

  #step(by) {
    const item = this.images.neighbour(by);
    if (item) this.open(item.id);
    else this.messages.say("There is no further image.");
  }

  #stepOpacity(percentage) {
    byId("opacity").valueAsNumber += percentage;
    this.#layersChanged();
  }

  #setBare(bare) {
    this.viewer.bare = bare;
    this.viewer.refresh();
  }

  #listen() {
    const commands = this.#makeCommands();
    commands.list(byId("help-keys"));
    document.addEventListener("keydown", (event) => this.#key(event, commands));
    document.addEventListener("keyup", (event) => event.key.toLowerCase() === "x" && this.#setBare(false));
    const clicks = {
      "skip": () => this.canvas.focus(),
      "zoom-in": () => this.viewer.zoom(1.4),
      "zoom-out": () => this.viewer.zoom(1 / 1.4),
      "zoom-fit": () => this.viewer.fit(),
      "help": () => byId("help-dialog").showModal(),
      "previous": () => this.#step(-1),
      "next": () => this.#step(1),
    };
    for (const [id, act] of Object.entries(clicks)) byId(id).addEventListener("click", act);
    for (const id of ["opacity", "show-labels", "show-disagreement"]) {
      byId(id).addEventListener("input", () => this.#layersChanged());
    }
    byId("order").addEventListener("change", () => this.#sort());
    for (const id of ["filter", "state-filter"]) {
      byId(id).addEventListener("input", () => this.images.setFilter(byId("filter").value, byId("state-filter").value));
    }
    this.canvas.addEventListener("pointermove", ({ clientX, clientY }) => {
      if (this.item) showWhere(this.canvas.hybridseg.toImage(clientX, clientY));
    });
    this.viewer.on("view", () => showZoom(this.viewer.transform.scale));
    this.viewer.on("tiles", (missing) => {
      document.body.dataset.tiles = missing;
    });
    this.viewer.on("complete", () => {
      if (!lacksPicture(this.item)) document.body.dataset.image = this.item.id;
    });
  }

  #makeCommands() {
    const commands = new Commands();
    const add = (...command) => commands.add(...command);
    add("Images", ["PageDown"], "Next image", () => this.#step(1));
    add("Images", ["PageUp"], "Previous image", () => this.#step(-1));
    this.decisions?.addKeys(add);
    add("Layers", ["l"], "Label maps on or off", () => byId("show-labels").click());
    if (this.compares) add("Layers", ["d"], "Disagreement on or off", () => byId("show-disagreement").click());
    add("Layers", ["x"], "While held: the bare photo", () => this.#setBare(true));
    add("Layers", ["["], "Fainter layers", () => this.#stepOpacity(-10));
    add("Layers", ["]"], "Stronger layers", () => this.#stepOpacity(10));
    if (this.compares) {
      add("Layers", [","], "Divider to the left", () => this.swipe.move(-0.05));
      add("Layers", ["."], "Divider to the right", () => this.swipe.move(0.05));
    }
    add("View", ["i"], "Zoom in; so do the wheel and pinching", () => this.viewer.zoom(1.4));
    add("View", ["o"], "Zoom out", () => this.viewer.zoom(1 / 1.4));
    add("View", ["f"], "Show the whole image", () => this.viewer.fit());
    add("View", ["Arrow keys"], "On the image: move it");
    add("View", ["?"], "This help", () => byId("help-dialog").showModal());
    return commands;
  }

  #key(event, commands) {
    const { target, key } = event;
    if (event.defaultPrevented || document.querySelector("dialog[open]")) return;
    if (target.matches("input[type=search], select")) return;
    if (target.matches("input[type=range]") && (key.startsWith("Page") || key.startsWith("Arrow"))) return;
    if (target === this.canvas && key in PAN) {
      event.preventDefault();
      this.viewer.pan(...PAN[key]);
    } else commands.handle(event);
  }

  #tell(error) {
    const silent = error.kind === "network" ? "The server does not answer; is the program still running?" : error.message;
    this.messages.raise("server", silent);
  }
}

function hasBoth({ has }) {
  return has.includes("manual") && has.includes("automatic");
}

function legendEntry({ name, color }) {
  return make("li", {}, make("span", { className: "swatch", style: { backgroundColor: color } }), make("span", { textContent: name }));
}

function showConfusions(confusions) {
  const rows = confusions.map(({ manual, automatic, share }) =>
    make("tr", {}, make("td", { textContent: `${manual} → ${automatic}` }), make("td", { textContent: percent(share) })),
  );
  byId("confusions").tBodies[0].replaceChildren(...rows);
  byId("confusions").hidden = !rows.length;
  byId("no-confusions").hidden = rows.length > 0;
}

function sentence({ name, disagreement, kappa, uncertainty }) {
  const parts = [];
  if (disagreement !== null) parts.push(`disagreement ${percent(disagreement)}`);
  if (kappa !== null) parts.push(`kappa ${kappa.toFixed(3)}`);
  if (uncertainty !== null) parts.push(`uncertainty ${decimals(uncertainty)}`);
  return [name, ...parts].join(", ");
}

function percent(share) {
  return share === null ? "–" : `${(share * 100).toFixed(1)} %`;
}

function decimals(value) {
  return value === null ? "–" : value.toFixed(2);
}

new ReviewPage().start();
