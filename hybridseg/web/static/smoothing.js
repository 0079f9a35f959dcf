// Smoothness and specks of the result: sent to the server, which spreads the scribbles anew.

import { byId } from "./dom.js";

const DELAY_MS = 200;

/** Two fields; `onSet(values)` sends them a moment after the last change. */
export class Smoothing {
  #timer = 0;
  #onSet;

  constructor(onSet) {
    this.#onSet = onSet;
    for (const id of ["smoothness", "specks"]) byId(id).addEventListener("input", () => this.#later());
  }

  /** Show the values of the server, unless they are being changed. */
  show({ smoothness, specks }) {
    if (this.#timer) return;
    byId("smoothness").value = smoothness;
    byId("specks").value = specks;
  }

  #later() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#timer = 0;
      const [smoothness, specks] = ["smoothness", "specks"].map((id) => withinLimits(byId(id)));
      this.#onSet({ smoothness, specks });
    }, DELAY_MS);
  }
}

// What is typed may lie outside; the field then shows what the server answers.
function withinLimits({ valueAsNumber, min, max }) {
  return Math.min(Math.max(Math.round(valueAsNumber) || 0, min), max);
}
