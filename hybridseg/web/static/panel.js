// The controls around the canvas show the state: buttons, progress, and the status bar.

import { byId, press } from "./dom.js";
import { asSentence } from "./messages.js";

const MARKS = { untouched: ["○", "to do"], imported: ["⇩", "imported"], working: ["◐", "in progress"], done: ["✓", "done"] };

/** The mark and the words for an image of the list. */
export function describeItem({ state, fault }) {
  const [mark, note] = fault ? ["⚠", "cannot be opened"] : MARKS[state];
  return { mark, note };
}

/** Show what can be done with an image, and its job. */
export function showState(state) {
  const { job } = state;
  byId("undo").disabled = !state.can_undo || Boolean(job);
  byId("redo").disabled = !state.can_redo || Boolean(job);
  for (const id of ["run", "accept", "accept-next", "import-file"]) byId(id).disabled = Boolean(job);
  byId("withdraw").disabled = state.state !== "done" || Boolean(job);
  byId("clear").disabled = state.state === "untouched" || Boolean(job);
  byId("source").hidden = !state.suggested;
  byId("minutes").textContent = `${Math.floor(state.seconds / 60)} min spent`;
  document.body.dataset.version = state.version;
  showJob(job);
}

/** Show how many other images taught the result on view; a click tells which. */
export function showTaught({ preview, state, images, messages }) {
  const names = preview.teachers?.map((id) => images.items.find((item) => item.id === id).name) ?? state?.taught_by ?? [];
  const words = `Strokes on other images count here, as this one has few of its own: ${names.join(", ")}.`;
  const button = byId("taught");
  button.hidden = !names.length;
  button.textContent = `Taught by ${names.length} other image${names.length === 1 ? "" : "s"}`;
  button.title = words;
  button.onclick = () => messages.raise("taught", words);
  if (!names.length) messages.clear("taught");
}

/** Show the progress of a job, or that there is none. */
export function showJob(job) {
  document.body.dataset.job = job?.kind ?? "none";
  byId("job").hidden = !job;
  if (!job) return;
  byId("job-label").textContent = asSentence(job.label);
  const progress = byId("job-progress");
  progress.max = job.total || 1;
  if (job.total) progress.value = job.done;
  else progress.removeAttribute("value");
}

/** Show whether all changes are saved. */
export function showSaved({ items, trouble }) {
  const sentences = {
    network: "Not saved: the server does not answer; trying again",
    forbidden: "Not saved: open the address that the program printed",
    conflict: "Not saved: the image was changed elsewhere",
    failed: "Not saved: see the message above",
  };
  const saved = byId("saved");
  const stuck = items.length ? sentences[trouble] : undefined;
  saved.textContent = stuck ?? (items.length ? `Saving ${items.length}…` : "All saved");
  saved.dataset.state = stuck ? "trouble" : items.length ? "saving" : "saved";
  document.body.dataset.unsent = items.length;
}

/** Show how many images are done. */
export function showProgress(items) {
  const done = items.filter(({ state }) => state === "done").length;
  byId("image-count").textContent = `${done} of ${items.length} done`;
  const imported = items.filter(({ state }) => state === "imported").length;
  byId("accept-imported").hidden = !imported;
  byId("accept-imported").textContent = `Accept ${imported} imported…`;
}

/** Show the zoom. */
export function showZoom(scale) {
  const percent = scale * 100;
  byId("zoom").textContent = `${percent < 10 ? percent.toFixed(1) : Math.round(percent)} %`;
}

/** Show where the pointer is, in an image with a place on Earth also on its map. */
export function showWhere(point, transform = null) {
  if (!point) return (byId("where").textContent = "");
  const [row, col] = point.map((value) => value + 0.5);
  const words = [`row ${Math.round(point[0])}, col ${Math.round(point[1])}`];
  if (transform) {
    const [a, b, c, d, e, f] = transform;
    // A tenth of a pixel is as good as a hand.
    const digits = Math.min(Math.max(Math.ceil(1 - Math.log10(Math.hypot(a, d))), 0), 8);
    words.push(`x ${(a * col + b * row + c).toFixed(digits)}, y ${(d * col + e * row + f).toFixed(digits)}`);
  }
  byId("where").textContent = words.join(" · ");
}

/** Show the size of the pen. */
export function showPen(choice) {
  byId("pen").textContent = choice.hasWidth ? `${Math.round(choice.width)} px pen` : "";
}

/** Show which window of the walk is on view. */
export function showWalk(walk) {
  press(byId("walk"), walk.on);
  byId("walk-bar").hidden = !walk.on;
  byId("walk-place").textContent = walk.on ? `window ${walk.place + 1} of ${walk.count}` : "";
  byId("walk-back").disabled = walk.place === 0;
  byId("walk-on").disabled = walk.place === walk.count - 1;
}
