// The dialog in which classes are named, coloured and put in order.

import { byId, make } from "./dom.js";
import { asSentence } from "./messages.js";
import { READY_SETS, spareColor } from "./readysets.js";

/** Edits the class list; `onSave(classes)` sends [{was, name, color}], and throws when the server refuses it. */
export class ClassDialog {
  #dialog = byId("class-dialog");
  #rows = byId("class-rows");
  #error = byId("class-error");
  #onSave;
  #classes = []; // as they were when it was opened

  constructor(onSave) {
    this.#onSave = onSave;
    const choice = byId("ready-set");
    choice.append(...Object.keys(READY_SETS).map((name) => make("option", { value: name, textContent: name })));
    choice.addEventListener("change", () => {
      for (const [name, color] of READY_SETS[choice.value] ?? []) this.#addMissing(name, color);
      choice.value = "";
    });
    byId("class-add").addEventListener("click", () => focusName(this.#add()));
    byId("class-cancel").addEventListener("click", () => this.#dialog.close());
    const form = byId("class-form");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#save();
    });
    form.addEventListener("keydown", (event) => this.#key(event));
    const forget = () => (this.#error.textContent = "");
    form.addEventListener("input", forget);
    form.addEventListener("click", ({ target }) => target.closest("button") && forget());
  }

  /** Open it with the classes as they are. */
  open(classes) {
    this.#classes = classes;
    this.#error.textContent = "";
    this.#rows.replaceChildren();
    classes.forEach((one, k) => this.#add({ ...one, was: k }));
    byId("class-intro").hidden = classes.length > 0;
    if (!classes.length) this.#add();
    if (!this.#dialog.open) this.#dialog.showModal();
    if (!classes.length) focusName(this.#rows.firstElementChild);
  }

  /** The classes were changed elsewhere: new ones at the end are added to the rows; after any other change it starts over. */
  renew(classes) {
    if (!this.#dialog.open) return;
    const { length } = this.#classes;
    const isLonger = this.#classes.every(({ name }, k) => name === classes[k]?.name);
    if (!isLonger) return this.open(classes);
    classes.slice(length).forEach((one, k) => this.#add({ ...one, was: length + k }));
    this.#classes = classes;
  }

  // Enter moves on to the next name; with Ctrl it saves.
  #key(event) {
    const { key, target } = event;
    if (key !== "Enter" || event.isComposing) return;
    const row = target.matches("[type=text]") && target.closest("li");
    if (event.ctrlKey || event.metaKey) byId("class-form").requestSubmit();
    else if (!row) return;
    else if (row.nextElementSibling) focusName(row.nextElementSibling);
    else if (target.value.trim()) focusName(this.#add());
    event.preventDefault();
  }

  async #save() {
    const classes = [...this.#rows.children].map((row) => ({
      was: row.dataset.was ? Number(row.dataset.was) : null,
      name: row.querySelector("[type=text]").value.trim(),
      color: row.querySelector("[type=color]").value,
    }));
    // An empty new row is dropped.
    const meant = classes.filter(({ was, name }) => was !== null || name);
    try {
      await this.#onSave(meant);
      this.#dialog.close();
    } catch (error) {
      this.#error.textContent = asSentence(error.message);
      this.#error.scrollIntoView({ block: "nearest" });
    }
  }

  #addMissing(name, color) {
    const inputs = [...this.#rows.querySelectorAll("[type=text]")];
    if (inputs.some((input) => input.value.trim().toLowerCase() === name)) return;
    const empty = inputs.find((input) => !input.value)?.closest("li");
    if (empty && !empty.dataset.was) empty.remove();
    this.#add({ name, color });
  }

  #add({ was, name = "", color = spareColor(this.#rows.children.length) } = {}) {
    const row = make(
      "li",
      { dataset: was === undefined ? {} : { was } },
      make("input", { type: "color", value: color, aria: { label: "Colour" } }),
      make("input", { type: "text", value: name, placeholder: "Class name", maxLength: 100, aria: { label: "Name" } }),
      this.#button("↑", "Move up", () => row.previousElementSibling?.before(row)),
      this.#button("↓", "Move down", () => row.nextElementSibling?.after(row)),
      this.#button("✕", "Remove", () => this.#remove(row)),
    );
    this.#rows.append(row);
    return row;
  }

  #remove(row) {
    const next = row.nextElementSibling ?? row.previousElementSibling;
    row.remove();
    if (next) focusName(next);
    else byId("class-add").focus();
  }

  #button(sign, words, act) {
    const button = make("button", { type: "button", className: "small", textContent: sign, title: words, aria: { label: words } });
    button.addEventListener("click", () => {
      act();
      if (button.isConnected) button.focus();
    });
    return button;
  }
}

function focusName(row) {
  row.querySelector("[type=text]").focus();
}
