// What will be drawn: the tool, the layer and the size of the pen, with their buttons.

import { byId, press } from "./dom.js";

const TOOLS = ["hand", "pen", "erase", "polygon", "fill", "wand"];
const LAYERS = ["scribbles", "result"];
const USUAL_SIZE = 12;
const MAX_SIZE = 1000;
const MAX_WIDTH = 10000; // of a stroke, in pixels of the image

/**
 * The tool, layer and pen that are chosen; `onChange()` is called after every change, `scale()` is screen pixels for one
 * of the image. The size of the pen counts in pixels of the image, or of the screen: then it draws finer when zoomed in.
 */
export class Choice {
  tool = "pen";
  layer = "scribbles";
  size = USUAL_SIZE;
  #unit = "image";
  #isUsual = true;
  #onChange;
  #scale;

  constructor(onChange, scale) {
    this.#onChange = onChange;
    this.#scale = scale;
    for (const tool of TOOLS) byId(`tool-${tool}`).addEventListener("click", () => this.pickTool(tool));
    for (const layer of LAYERS) byId(`layer-${layer}`).addEventListener("click", () => this.pickLayer(layer));
    byId("pen-smaller").addEventListener("click", () => this.resize(-1));
    byId("pen-larger").addEventListener("click", () => this.resize(1));
    const size = byId("pen-size");
    size.addEventListener("change", () => this.setSize(Number(size.value)));
    this.#show();
  }

  /** Choose a tool. */
  pickTool(tool) {
    this.tool = tool;
    this.#show();
    this.#onChange();
  }

  /** Choose the layer to draw on. */
  pickLayer(layer) {
    this.layer = layer;
    this.#show();
    this.#onChange();
  }

  /** Make the pen larger or smaller by steps. */
  resize(steps) {
    const step = Math.max(this.size * 0.15, 1);
    this.setSize(this.size + steps * step);
  }

  /** Set the diameter of the pen, in its unit. */
  setSize(size) {
    this.#isUsual = false;
    this.size = Math.round(Math.min(Math.max(size || 1, 1), MAX_SIZE));
    this.#show();
    this.#onChange();
  }

  /** The diameter of the pen in pixels of the image. */
  get width() {
    if (this.#unit === "image") return this.size;
    return Math.min(Math.max(Math.round((this.size / this.#scale()) * 100) / 100, 1), MAX_WIDTH);
  }

  /** Let the size count in pixels of the "image" or of the "screen"; the pen stays as large as it is. */
  setUnit(unit) {
    const [width, isUsual] = [this.width, this.#isUsual];
    if (unit === this.#unit) return;
    this.#unit = unit;
    this.setSize(unit === "image" ? width : width * this.#scale());
    this.#isUsual = isUsual;
    this.adapt();
  }

  /** An image was opened: until a size is chosen, the pen is not too thin to be seen. */
  adapt() {
    if (!this.#isUsual) return;
    this.setSize(this.#unit === "screen" ? USUAL_SIZE : Math.max(USUAL_SIZE / this.#scale(), USUAL_SIZE));
    this.#isUsual = true;
  }

  /** Whether the tool has a size. */
  get hasWidth() {
    return this.tool === "pen" || this.tool === "erase";
  }

  #show() {
    for (const tool of TOOLS) press(byId(`tool-${tool}`), tool === this.tool);
    for (const layer of LAYERS) press(byId(`layer-${layer}`), layer === this.layer);
    for (const id of ["pen-smaller", "pen-size", "pen-larger"]) byId(id).disabled = !this.hasWidth;
    const field = byId("pen-size");
    field.value = this.size;
    field.title = `Diameter of the pen in pixels of the ${this.#unit}`;
  }
}
