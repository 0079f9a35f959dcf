// The class picker: takes the class that is seen at a point, from a scribble or from the result.

import { byId, press, wordsFor } from "./dom.js";

const PICK = `${wordsFor({ touch: "Tap", keys: "Click" })} on the image to draw with the class that is there.`;

/** Picks at once with a key, or with the next click after its button was pressed. */
export class ClassPicker {
  armed = false;
  #page;

  constructor(page) {
    this.#page = page;
    byId("pick-class").addEventListener("click", () => this.arm(!this.armed));
  }

  /** Let the next click on the image pick, or not. */
  arm(armed) {
    this.armed = armed;
    press(byId("pick-class"), armed);
    this.#page.messages.rest(armed ? PICK : this.#page.state?.name);
    this.#page.input.updateCursor();
  }

  /** Pick under the pointer, or the crosshair. */
  pickHere() {
    const { crosshair, drawing } = this.#page;
    this.pick(crosshair.visible ? crosshair.point : drawing.hoverPoint);
  }

  /** Pick the class at a point of the image. */
  pick(point) {
    if (this.armed) this.arm(false);
    const index = point ? this.#classAt(point) : -1;
    if (index < 0) return this.#page.messages.say("Nothing is labelled here.");
    this.#page.classList.pick(index);
    this.#page.messages.say(`Now drawing: ${this.#page.classList.current.name}.`);
  }

  #classAt(point) {
    const { layers, viewer, classList } = this.#page;
    for (const layer of [layers.scribbles, layers.result]) {
      const [red, green, blue, alpha] = layer.visible ? viewer.colorAt(layer, point) : [0, 0, 0, 0];
      if (alpha < 128) continue;
      const far = classList.classes.map(({ color }) => distance(color, [red, green, blue]));
      const nearest = Math.min(...far);
      return far[classList.index] === nearest ? classList.index : far.indexOf(nearest);
    }
    return -1;
  }
}

function distance(color, channels) {
  return channels.reduce((sum, value, k) => sum + Math.abs(value - parseInt(color.slice(1 + 2 * k, 3 + 2 * k), 16)), 0);
}
