// The divider between two label maps: dragged on the canvas, or moved with a slider.

/** A divider over the canvas and the slider that goes with it; `onChange()` is called after every move. */
export class Swipe {
  share = 0.5; // of the width, left of the divider
  #divider;
  #slider;
  #onChange;

  constructor(divider, slider, onChange) {
    this.#divider = divider;
    this.#slider = slider;
    this.#onChange = onChange;
    slider.addEventListener("input", () => this.#set(slider.valueAsNumber / 100));
    divider.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      divider.setPointerCapture(event.pointerId);
    });
    divider.addEventListener("pointermove", (event) => {
      if (divider.hasPointerCapture(event.pointerId)) this.#follow(event);
    });
    this.#place();
  }

  /** Show it, or hide it where there is nothing to divide. */
  setUsed(used) {
    this.#divider.hidden = !used;
    this.#slider.disabled = !used;
  }

  /** Move it by a share of the width. */
  move(by) {
    this.#set(this.share + by);
  }

  #follow(event) {
    const box = this.#divider.parentElement.getBoundingClientRect();
    this.#set((event.clientX - box.left) / box.width);
  }

  #set(share) {
    this.share = Math.min(Math.max(share, 0), 1);
    this.#slider.valueAsNumber = Math.round(this.share * 100);
    this.#place();
    this.#onChange();
  }

  #place() {
    this.#divider.style.left = `${this.share * 100}%`;
  }
}
