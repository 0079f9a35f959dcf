// The list of images. Only the rows in view exist, so that ten thousand images are as fast as ten.

import { make } from "./dom.js";
import { shortNames } from "./names.js";

const SPARE_ROWS = 6;
const TAIL = 9; // characters: photos of one camera differ at the end of their names

/**
 * A list in a scrolling element (a listbox). `describe(item)` returns {mark, note} for a row; `thumbs`, if given, has a
 * picture for each.
 */
export class ImageList {
  #box;
  #describe;
  #onOpen;
  #items = [];
  #shown = [];
  #filter = "";
  #state = "";
  #thumbs;
  #current = null;
  #active = 0;
  #spacer = make("div", { className: "rows" });

  constructor(box, { describe, onOpen, thumbs = null }) {
    this.#thumbs = thumbs;
    box.classList.toggle("pictured", thumbs !== null);
    this.#box = box;
    this.#describe = describe;
    this.#onOpen = onOpen;
    box.append(this.#spacer);
    box.addEventListener("scroll", () => this.#render());
    box.addEventListener("keydown", (event) => this.#key(event));
    box.addEventListener("click", (event) => this.#open(event.target.closest("[data-id]")?.dataset.id));
    new ResizeObserver(() => this.#render()).observe(box);
  }

  /** All items, in their order. */
  get items() {
    return this.#items;
  }

  /** Show these items, {id, name, ...}. */
  setItems(items) {
    this.#items = items;
    const names = shortNames(items.map(({ name }) => name));
    items.forEach((item, k) => (item.shortName = names[k]));
    this.#apply();
  }

  /** Show only the items whose name contains a text, and whose state is this one (any, if empty). */
  setFilter(text, state = "") {
    this.#filter = text.trim().toLowerCase();
    this.#state = state;
    this.#box.scrollTop = 0;
    this.#apply();
  }

  /** An item has changed. */
  update(id, properties) {
    const item = this.#items.find((one) => one.id === id);
    if (item) Object.assign(item, properties);
    this.#render();
  }

  /**
   * The picture of an item is here, or it is known why there is none. Its row stays for a picture: a click that has begun
   * on a row that is replaced would be lost.
   */
  showThumb(id, fault) {
    if (fault) return this.update(id, { fault });
    const place = this.#shown.findIndex((item) => item.id === id);
    document.getElementById(rowId(place))?.querySelector(".picture").replaceWith(this.#picture({ id }));
  }

  /** Mark the item that is open, and scroll to it. */
  setCurrent(id) {
    this.#current = id;
    this.#active = Math.max(this.#shown.findIndex((item) => item.id === id), 0);
    this.#scrollToActive();
  }

  /** The item `step` places further in the list as shown, from the open one or `from`, or undefined; `test` may skip some. */
  neighbour(step, test = () => true, from = this.#current) {
    const start = this.#shown.findIndex((item) => item.id === from);
    for (let k = start + step; k >= 0 && k < this.#shown.length; k += step) {
      if (test(this.#shown[k])) return this.#shown[k];
    }
    return undefined;
  }

  #apply() {
    const fits = (item) => item.name.toLowerCase().includes(this.#filter) && (!this.#state || stateOf(item) === this.#state);
    this.#shown = this.#items.filter(fits);
    this.#active = Math.max(this.#shown.findIndex((item) => item.id === this.#current), 0);
    this.#render();
  }

  #open(id) {
    if (id !== undefined) this.#onOpen(id);
  }

  #key(event) {
    const steps = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity };
    if (event.key in steps) this.#active += steps[event.key];
    else if ((event.key === "Enter" || event.key === " ") && this.#shown.length) this.#open(this.#shown[this.#active].id);
    else return;
    event.preventDefault();
    event.stopPropagation();
    this.#active = Math.min(Math.max(this.#active, 0), Math.max(this.#shown.length - 1, 0));
    this.#scrollToActive();
  }

  #scrollToActive() {
    const top = this.#active * this.#rowHeight;
    const { scrollTop, clientHeight } = this.#box;
    if (top < scrollTop) this.#box.scrollTop = top;
    else if (top + this.#rowHeight > scrollTop + clientHeight) this.#box.scrollTop = top + this.#rowHeight - clientHeight;
    this.#render();
  }

  get #rowHeight() {
    return parseFloat(getComputedStyle(this.#box).getPropertyValue("--row")) || 40;
  }

  #render() {
    const height = this.#rowHeight;
    this.#spacer.style.height = `${this.#shown.length * height}px`;
    const first = Math.max(Math.floor(this.#box.scrollTop / height) - SPARE_ROWS, 0);
    const last = Math.ceil((this.#box.scrollTop + this.#box.clientHeight) / height) + SPARE_ROWS;
    const inView = this.#shown.slice(first, last);
    const rows = inView.map((item, k) => this.#row(item, first + k, height));
    this.#thumbs?.want(inView.map((item) => item.id));
    this.#spacer.replaceChildren(...(rows.length || !this.#items.length ? rows : [make("p", { className: "quiet", textContent: "No image matches." })]));
    if (this.#shown.length) this.#box.setAttribute("aria-activedescendant", rowId(this.#active));
    else this.#box.removeAttribute("aria-activedescendant");
  }

  #picture({ id }) {
    const src = this.#thumbs.get(id);
    return src ? make("img", { className: "picture", alt: "", src }) : make("span", { className: "picture" });
  }

  #row(item, place, height) {
    const { mark, note } = this.#describe(item);
    const row = make(
      "div",
      { className: "row", id: rowId(place), role: "option", title: item.fault ?? item.name, dataset: { id: item.id, state: stateOf(item) } },
      ...(this.#thumbs ? [this.#picture(item)] : []),
      make("span", { className: "mark", textContent: mark, aria: { hidden: true } }),
      make(
        "span",
        { className: "name" },
        make("span", { className: "head", textContent: item.shortName.slice(0, -TAIL) }),
        make("span", { className: "tail", textContent: item.shortName.slice(-TAIL) }),
      ),
      make("span", { className: "note", textContent: note }),
    );
    row.setAttribute("aria-label", `${item.name}, ${note}`);
    row.setAttribute("aria-selected", String(item.id === this.#current));
    row.setAttribute("aria-posinset", place + 1);
    row.setAttribute("aria-setsize", this.#shown.length);
    row.classList.toggle("active", place === this.#active);
    row.classList.toggle("long", item.shortName.length > TAIL + 5);
    row.style.top = `${place * height}px`;
    return row;
  }
}

// An image that cannot be opened is in no other state.
function stateOf({ state, fault }) {
  return fault ? "broken" : (state ?? "");
}

function rowId(place) {
  return `image-row-${place}`;
}
