// What a person decides about the automatic result of the image on view; everything is on disk when it is answered.

import { byId } from "./dom.js";
import { saveFile } from "./savefile.js";

const MARKS = { accepted: "✓", rejected: "✗", mending: "✎", mended: "✎" };
const WORDS = { accepted: "accepted as ground truth", rejected: "rejected", mending: "being mended", mended: "mended" };

/** The mark of an image in the list. */
export function markOf({ decision }) {
  return MARKS[decision] ?? "";
}

/** Why an image cannot be seen, and so not judged, yet. */
export function lacksPicture({ fault, here, name }) {
  if (fault) return `${name} cannot be shown; open it again to retry.`;
  return here ? "" : `${name} is being copied before it can be shown.`;
}

/** Buttons and keys that decide, on a page with `api`, `item`, `messages`, `use(review)` and `open(id)`. */
export class Decisions {
  #page;
  #busy = false;

  constructor(page) {
    this.#page = page;
    const clicks = {
      "accept": () => this.#decide("accept"),
      "reject": () => this.#decide("reject"),
      "take-back": () => this.#decide("back"),
      "mend": () => this.#mend(),
      "export-list": () => this.#export(),
      "next-open": () => this.#openNext(),
    };
    for (const [id, act] of Object.entries(clicks)) byId(id).addEventListener("click", act);
  }

  /** Add the keys of the buttons; that of one that is disabled says why. */
  addKeys(add) {
    const keys = {
      "accept": ["a", "Accept the automatic result as ground truth"],
      "reject": ["r", "Reject it"],
      "mend": ["m", "Mend it on the labelling page"],
      "take-back": ["z", "Take the decision back"],
      "next-open": ["n", "Next automatic result without a decision"],
      "export-list": ["e", "Export the list"],
    };
    for (const [id, [key, words]] of Object.entries(keys)) add("Decide", [key], words, () => this.#press(byId(id)));
  }

  /** Show what was decided about the open image, and what can be. */
  show() {
    const { item } = this.#page;
    const { decision, by, when, name } = item;
    const parts = [WORDS[decision] ?? "none yet", by ? `by ${by}` : "", when ? new Date(when).toLocaleString() : ""];
    byId("decision").textContent = parts.filter(Boolean).join(", ");
    allow("accept", whyNotAccept(item), "Write it as ground truth (A)");
    allow("reject", whyNotReject(item), "The automatic result is no good (R)");
    allow("take-back", whyNotTakeBack(item), "Take the decision back (Z)");
    allow("mend", lacksPicture(item), `Open ${name} on the labelling page (M)`);
  }

  #press(button) {
    if (button.disabled) this.#page.messages.say(button.title);
    else button.click();
  }

  async #decide(act) {
    const { page, id } = { page: this.#page, id: this.#page.item.id };
    const review = await this.#ask(() => page.api.post(`/api/review/${encodeURIComponent(id)}/${act}`, {}));
    if (!review) return;
    page.use(review);
    const { name, decision } = page.item;
    page.messages.succeed(`${name}: ${WORDS[decision] ?? "no decision any more"}.`);
  }

  async #mend() {
    const { api, item } = this.#page;
    const id = encodeURIComponent(item.id);
    const review = await this.#ask(() => api.post(`/api/review/${id}/mend`, {}));
    if (review) location.assign(`/static/index.html?review#${id}`);
  }

  async #export() {
    const file = await this.#ask(() => this.#page.api.getFile("/api/review/list"));
    if (!file) return;
    saveFile(file);
    this.#page.messages.succeed(`Downloaded ${file.name}. From the first decision on, it is also kept beside the results.`);
  }

  #openNext() {
    const { images, messages } = this.#page;
    const item = images.neighbour(1, isOpen) ?? images.items.find(isOpen);
    if (item) this.#page.open(item.id);
    else messages.say("No automatic result is left to decide about.");
  }

  // One request at a time; an error is told.
  async #ask(act) {
    if (this.#busy || !this.#page.item) return null;
    this.#busy = true;
    try {
      return await act();
    } catch (error) {
      this.#page.messages.raise("asked", error.message);
      return null;
    } finally {
      this.#busy = false;
    }
  }
}

// Where there is ground truth, there is nothing to decide.
function isOpen({ decision, has }) {
  return !decision && has.includes("automatic") && !has.includes("manual");
}

// Disable a button where there is a reason, which its title tells then.
function allow(id, reason, title) {
  byId(id).disabled = Boolean(reason);
  byId(id).title = reason || title;
}

function whyNotAccept(item) {
  const { decision, may_accept: mayAccept, has, name } = item;
  if (mayAccept) return lacksPicture(item);
  if (decision === "mending") return `${name} is being mended: accept it on the labelling page (M), or stop mending it (Z).`;
  if (decision === "accepted") return `${name} is accepted already.`;
  if (has.includes("manual")) return `${name} has ground truth already, which stays.`;
  return lacksResult(item) || `${name} was drawn on: accept it on the labelling page (M).`;
}

function whyNotReject(item) {
  const { decision, name } = item;
  return decision && decision !== "mending" ? `${name} is ${decision} already.` : lacksResult(item);
}

function whyNotTakeBack({ decision, name }) {
  if (decision === "mended") return `${name} was mended by hand: withdraw or clear it on the labelling page (M).`;
  return decision ? "" : `There is no decision about ${name} yet.`;
}

function lacksResult({ has, name }) {
  return has.includes("automatic") ? "" : `${name} has no automatic result.`;
}
