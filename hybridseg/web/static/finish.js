// The end of the work on an image: accept its result, take it back, start anew; and accept all that was imported.

import { imagePath } from "./api.js";
import { showShares } from "./classes.js";
import { byId, make } from "./dom.js";
import { ask } from "./question.js";
import { work } from "./work.js";

const TRASHED = "Its files are in the folder .trash.";

/** Finishes images of a page. What was asked once about an image, or about classes that none has, is not asked again. */
export class Finish {
  #page;
  #asked = new Set();

  constructor(page) {
    this.#page = page;
    byId("withdraw").addEventListener("click", () => this.#takeBack("withdraw"));
    byId("clear").addEventListener("click", () => this.#takeBack("clear"));
    byId("accept-imported").addEventListener("click", () => this.#acceptImported());
  }

  /** Write the files of the open image; then open the next one that is not done, if asked to. */
  async accept(goOn) {
    const page = this.#page;
    if (!page.state || page.state.job || !(await this.#isMeant())) return;
    const ended = await work(page, "accept", "Writing the files…");
    if (!ended || ended.message_kind === "bad" || ended.state !== "done") return;
    const words = `${ended.name} is done. Written: ${(ended.written ?? []).join(", ")}`;
    page.messages.succeed(words);
    if (goOn && page.state?.id === ended.id) page.openNeighbour(1, ({ state }) => state !== "done", words);
  }

  // A result of a single class, or without some of the list, may be an oversight.
  async #isMeant() {
    const page = this.#page;
    page.drawing.finish();
    const { id } = page.state;
    await page.queue.drained(id);
    if (page.state.id !== id) return false;
    const { drawn, suggested } = page.queue.heads.get(id) ?? page.state;
    const { classes } = page.classList;
    const unused = classes.filter((_, k) => !drawn.includes(k)).map(({ name }) => name);
    const doubts = [];
    if (drawn.length === 1 && !suggested) doubts.push([id, "Only one class was drawn on this image."]);
    if (drawn.length > 1 && unused.length) doubts.push(["", `Not drawn on this image: ${unused.join(", ")}.`]);
    if (!drawn.length && suggested) doubts.push([id, "Nothing was drawn on this image: all of it is what the model suggests."]);
    const open = doubts.filter(([about, words]) => !this.#asked.has(about + words));
    if (!open.length) return true;
    const pixels = await this.#count();
    if (!pixels || page.state.id !== id) return pixels === undefined;
    const agreed = await ask("Accept this result?", [...open.map(([, words]) => words), listShares(classes, pixels)], "Accept");
    if (agreed) for (const [about, words] of open) this.#asked.add(about + words);
    return agreed;
  }

  // The pixels of each class in the result that would be written; undefined where the job that writes it tells more.
  async #count() {
    const page = this.#page;
    const { state } = page;
    if ((state.has_scribbles || state.suggested) && state.stale) {
      const ended = await work(page, "run", "Labelling the whole image…");
      if (!ended) return undefined;
      if (ended.stale) return null;
    }
    const found = await page.ask(() => page.api.get(imagePath(state.id, "shares")));
    return found && (found.pixels ?? undefined);
  }

  async #acceptImported() {
    const page = this.#page;
    const items = page.images.items.filter(({ state }) => state === "imported");
    const words = "Their labels become ground truth as they were imported, without a look at each one.";
    if (!(await ask(`Accept ${items.length} imported images?`, [words], "Accept all"))) return;
    const failed = [];
    for (const [k, { id, name }] of items.entries()) {
      page.messages.say(`Accepting ${k + 1} of ${items.length}: ${name}`, true);
      const state = await page.ask(() => page.api.get(imagePath(id)));
      const ended = state?.state === "imported" && (await page.ask(() => page.jobs.start(id, "accept", state.version)));
      if (ended?.state !== "done") failed.push(name);
    }
    page.messages.succeed(`Accepted ${items.length - failed.length} of ${items.length} imported images.`);
    if (failed.length) page.messages.raise("job", `Not accepted: ${failed.join(", ")}. Open them to see why.`);
  }

  async #takeBack(act) {
    const page = this.#page;
    const { state } = page;
    if (!state || state.job) return;
    const words =
      act === "clear"
        ? ["Start this image anew?", "Everything drawn on it, and its result, goes to the folder .trash.", "Clear image"]
        : ["Take the accepted result back?", "Its files go to the folder .trash. What was drawn stays.", "Withdraw"];
    if (!(await ask(words[0], [words[1]], words[2]))) return;
    page.drawing.cancel();
    await page.queue.drained(state.id);
    const { version } = page.queue.heads.get(state.id) ?? state;
    const fresh = await page.ask(() => page.api.post(imagePath(state.id, act), { version }));
    if (!fresh) return;
    page.heed(fresh, [0, 0, fresh.rows, fresh.cols]);
    if (page.state?.id === fresh.id) page.preview.schedule();
    page.messages.succeed(`${act === "clear" ? "The image starts anew" : "The result was taken back"}. ${TRASHED}`);
  }
}

function listShares(classes, pixels) {
  const shares = showShares(pixels);
  const order = classes.map((_, k) => k).sort((a, b) => pixels[b] - pixels[a]);
  const row = (k) => [
    make("dt", {}, make("span", { className: "swatch", style: { backgroundColor: classes[k].color } }), classes[k].name),
    make("dd", { className: "number", textContent: shares[k] || "none" }),
  ];
  return make("dl", { className: "shares" }, ...order.flatMap(row));
}
