// Jobs and files: label the whole image, write it, import labels, change the classes.

import { imagePath } from "./api.js";
import { byId, wordsFor } from "./dom.js";
import { showJob, showState } from "./panel.js";
import { saveFile } from "./savefile.js";

const LABELLED = `The whole image is labelled; accept it${wordsFor({ touch: "", keys: " with S" })}, or correct it.`;
const ACCEPTED = "This image is accepted and stays as it is; smoothing is for those that are not.";
const LOST = "The job ended without a result, perhaps because the program was restarted. Start it again.";

/** Label the whole open image. */
export function runImage(page) {
  return work(page, "run", "Labelling the whole image…");
}

/** Stop the job of the open image. */
export async function cancelWork(page) {
  const state = await page.ask(() => page.jobs.cancel(page.state.id));
  if (state) page.heed(state);
}

/** Listen to the fields that import labels and export a result. */
export function listenToFiles(page) {
  byId("export").addEventListener("input", ({ target }) => {
    exportResult(page, target.value);
    target.value = "";
  });
  byId("import-file").addEventListener("change", ({ target }) => {
    importLabels(page, target.files[0]);
    target.value = "";
  });
}

// Import labels from a file.
async function importLabels(page, file) {
  if (!page.state || !file) return;
  const { id } = page.state;
  await page.queue.drained(id);
  page.messages.say(`Reading ${file.name}…`, true);
  const path = `${imagePath(id, "import")}?name=${encodeURIComponent(file.name)}`;
  const change = await page.ask(() => page.api.upload(path, file));
  if (!change) return page.messages.rest();
  page.heed(change, change.bounds);
  page.preview.schedule();
  page.messages.succeed(change.message ?? `${file.name} was read.`);
  if (change.warnings?.length) page.messages.raise("import", change.warnings.join(" "));
}

/** Send a new class list; throws when the server refuses it. */
export async function saveClasses(page, classes) {
  const { session, queue, classList } = page;
  while (queue.items.length) await queue.drained(queue.items[0].image);
  const put = () => page.api.put("/api/classes", { version: session.classes_version, classes });
  const saved = await put().catch(async (error) => {
    // A restarted program counts versions from 1 again; the same list is not a conflict.
    const isOther = error.kind !== "conflict" || (await refreshClasses(page));
    if (isOther) throw error;
    return put();
  });
  // The chosen class stays chosen, wherever it is now and whatever its name.
  const index = Math.max(classes.findIndex(({ was }) => was === classList.index), 0);
  page.setClasses(saved);
  classList.pick(index);
  queue.heads.clear();
  page.messages.pass();
  if (page.state) page.reload(page.state.id);
}

// Download the result of the open image in a format of another program.
async function exportResult(page, to) {
  if (!page.state || !to) return;
  const { id } = page.state;
  await page.queue.drained(id);
  page.messages.say("Writing the result in that format…", true);
  const file = await page.ask(() => page.api.getFile(`${imagePath(id, "export")}?to=${to}`));
  if (!file) return page.messages.rest();
  saveFile(file);
  page.messages.succeed(`${file.name} was downloaded.`);
}

/** Spread scribbles in another way; the result in view follows. */
export async function setSmoothing(page, values) {
  const set = await page.ask(() => page.api.put("/api/smoothing", values));
  if (!set) return;
  page.smoothing.show(set);
  if (page.state) await page.reload(page.state.id);
  if (page.state?.state === "done") page.messages.say(ACCEPTED);
}

/** Fetch the class list; true when its names or their order changed. */
export async function refreshClasses(page) {
  const fresh = await page.api.openSession();
  const names = ({ classes }) => JSON.stringify(classes.map(({ name }) => name));
  const isOther = names(fresh) !== names(page.session);
  page.setClasses(fresh);
  if (isOther) page.classDialog.renew(fresh.classes);
  return isOther;
}

/** Start a job on the open image, and return its state when it has ended, or null. */
export async function work(page, kind, words) {
  if (!page.state || page.state.job) return null;
  page.drawing.finish();
  const { id } = page.state;
  showJob({ kind, label: words, done: 0, total: 0 });
  await page.queue.drained(id);
  const { version } = page.queue.heads.get(id) ?? page.state;
  const ended = await page.ask(() => page.jobs.start(id, kind, version));
  if (page.state) showState(page.state);
  if (!ended) return null;
  if (ended.message_kind === "bad") page.messages.raise("job", ended.message);
  else if (!ended.message && !ended.has_result) page.messages.raise("job", LOST);
  else page.messages.succeed(ended.message ?? LABELLED);
  if (ended.has_result && !byId("show-result").checked) byId("show-result").click();
  if (page.state?.id !== id) return ended;
  if (ended.stale) page.preview.schedule();
  else page.preview.hide();
  return ended;
}
