// The list of classes: which one is being drawn.

import { make, press } from "./dom.js";

/** The class list at the side; `onPick(index)` is called after a choice. */
export class ClassList {
  classes = [];
  index = 0;
  #box;
  #onPick;

  constructor(box, onPick) {
    this.#box = box;
    this.#onPick = onPick;
  }

  /** Show these classes, {name, color}; the chosen one stays chosen, wherever it is now. */
  setClasses(classes) {
    const place = classes.findIndex(({ name }) => name === this.current?.name);
    this.index = place >= 0 ? place : Math.min(this.index, Math.max(classes.length - 1, 0));
    this.classes = classes;
    this.#box.replaceChildren(...classes.map((one, k) => this.#button(one, k)));
    this.#show();
  }

  /** Choose a class by its index; one that does not exist is ignored. */
  pick(index) {
    if (!this.classes[index]) return;
    this.index = index;
    this.#show();
    this.#onPick(index);
  }

  /** Choose the next class; after the last, the first. */
  pickNext() {
    this.pick((this.index + 1) % Math.max(this.classes.length, 1));
  }

  /** The class that is chosen, or undefined. */
  get current() {
    return this.classes[this.index];
  }

  /** Tell how much each class has, by numbers of pixels; null: nobody knows. `where` is "in view", for example. */
  showShares(pixels, where) {
    const shares = pixels && showShares(pixels);
    [...this.#box.querySelectorAll(".share")].forEach((field, k) => {
      field.textContent = shares?.[k] ?? "";
      field.title = shares ? `Share of the pixels ${where}` : "";
    });
  }

  #button({ name, color }, k) {
    const key = classKey(k);
    const button = make(
      "button",
      { type: "button", className: "class", title: key ? `${name} (${key})` : name, dataset: { index: k } },
      make("span", { className: "swatch", style: { backgroundColor: color } }),
      make("span", { className: "name", textContent: name }),
      make("span", { className: "share number" }),
      ...(key ? [make("kbd", { textContent: key })] : []),
    );
    button.addEventListener("click", () => this.pick(k));
    return button;
  }

  #show() {
    [...this.#box.children].forEach((button, k) => press(button, k === this.index));
    const [button, box] = [this.#box.children[this.index], this.#box].map((one) => one?.getBoundingClientRect());
    // Not with scrollIntoView: Tab would continue from here.
    if (button) this.#box.scrollTop += Math.min(button.top - box.top, 0) + Math.max(button.bottom - box.bottom, 0);
  }
}

/**
 * The share of each in percent, for a person; "" for none. Whole numbers that make 100: the largest remainders are
 * rounded up.
 */
export function showShares(pixels) {
  const total = pixels.reduce((sum, count) => sum + count, 0) || 1;
  const exact = pixels.map((count) => (100 * count) / total);
  const shown = exact.map(Math.floor);
  const missing = Math.round(exact.reduce((sum, share, k) => sum + share - shown[k], 0));
  const byRemainder = exact.map((share, k) => [share - shown[k], k]).sort(([a], [b]) => b - a);
  for (const [, k] of byRemainder.slice(0, missing)) shown[k]++;
  return pixels.map((count, k) => (count ? (shown[k] ? `${shown[k]} %` : "<1 %") : ""));
}

/** The number key of a class: 1 to 9, then 0; none for the rest. */
export function classKey(index) {
  return index < 10 ? String((index + 1) % 10) : "";
}
