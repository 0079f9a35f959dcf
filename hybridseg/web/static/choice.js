// What will be drawn: the tool, the layer and the size of the pen, with their buttons.

import { byId, press } from "./dom.js";

const TOOLS = ["hand", "pen", "erase", "polygon", "fill"];
const LAYERS = ["scribbles", "result"];
const MAX_WIDTH = 1000;

/** The tool, layer and pen that are chosen; `onChange()` is called after every change. */
export class Choice {
  tool = "pen";
  layer = "scribbles";
  width = 12;
  #onChange;

  constructor(onChange) {
    this.#onChange = onChange;
    for (const tool of TOOLS) byId(`tool-${tool}`).addEventListener("click", () => this.pickTool(tool));
    for (const layer of LAYERS) byId(`layer-${layer}`).addEventListener("click", () => this.pickLayer(layer));
    byId("pen-smaller").addEventListener("click", () => this.resize(-1));
    byId("pen-larger").addEventListener("click", () => this.resize(1));
    const size = byId("pen-size");
    size.addEventListener("change", () => this.setWidth(Number(size.value)));
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
    const step = Math.max(this.width * 0.15, 1);
    this.setWidth(this.width + steps * step);
  }

  /** Set the diameter of the pen, in pixels of the image. */
  setWidth(width) {
    this.width = Math.round(Math.min(Math.max(width || 1, 1), MAX_WIDTH));
    this.#show();
    this.#onChange();
  }

  /** Whether the tool has a size. */
  get hasWidth() {
    return this.tool === "pen" || this.tool === "erase";
  }

  #show() {
    for (const tool of TOOLS) press(byId(`tool-${tool}`), tool === this.tool);
    for (const layer of LAYERS) press(byId(`layer-${layer}`), layer === this.layer);
    byId("pen-size").value = this.width;
  }
}
