// The callbacks between the parts of the labelling page.

import { byId } from "./dom.js";
import { describeItem, showSaved, showTaught, showWhere } from "./panel.js";
import { refreshClasses } from "./work.js";

const CONFLICT = "This image was changed in another tab or program. Your last stroke was not saved.";
const HIDDEN = "The result is painted here, and stays: draw on Result, or erase it there.";
const WITHDRAWN = "This changes an accepted image: its result was put into .trash. Accept it again, or undo.";

/** Callbacks of mouse, pen and fingers on the canvas. */
export function pointerHooks(page) {
  const { drawing, corners } = page;
  // The mouse takes over from the crosshair, unless its pen is down.
  const takeOver = () => (drawing.stroke && !drawing.polygonOpen) || page.crosshair.hide();
  return {
    active: () => page.picker.armed || drawing.active(),
    down: (point, isEraser, event) => {
      page.crosshair.hide();
      if (page.picker.armed) return;
      if (page.wand.active && !isEraser) return page.wand.down(point, event);
      if (!isEraser && corners.down(point, { alt: event.altKey, type: event.pointerType })) return;
      drawing.down(point, isEraser);
    },
    move: (points) => {
      if (corners.dragging) return corners.move(points.at(-1));
      page.wand.move(points);
      drawing.move(points);
    },
    up: (point) => {
      if (page.picker.armed) return page.picker.pick(point);
      if (corners.dragging) return corners.up(point);
      page.wand.up(point);
      drawing.up(point);
    },
    cancel: () => page.wand.cancel() || corners.cancel() || drawing.polygonOpen || drawing.cancel(),
    hover: (point) => {
      if (point) takeOver();
      drawing.hover(point);
      showWhere(point, page.state?.transform);
    },
    wheel: (steps) => {
      if (page.wand.resize(steps)) return true;
      if (page.choice.hasWidth) page.choice.resize(steps);
      return page.choice.hasWidth;
    },
  };
}

/** Callbacks of the queue of changes. */
export function queueHooks(page) {
  return {
    onChange: () => {
      showSaved(page.queue);
      // Only when the changes themselves succeeded: other requests may be answered meanwhile.
      if (!page.queue.trouble) page.messages.clear("unsent");
    },
    onWaiting: (error) => page.tellWaiting(error, "unsent"),
    onRestart: () => page.ask(() => refreshClasses(page)),
    onSent: (item, change) => {
      const before = page.state;
      page.heed(change, change.bounds);
      page.messages.pass();
      if (page.state?.id !== item.image) return;
      const isUndo = item.action === "undo";
      if (isUndo ? before.ends_with_import : item.action === "redo" && change.ends_with_import) {
        page.messages.say(`The import ${isUndo ? "was undone" : "is back"}: this image is now “${describeItem(change).note}”.`);
      }
      if (before.state === "done" && change.state !== "done") page.messages.say(WITHDRAWN);
      if (before.state !== "done" && change.state === "done") page.messages.say("The accepted result is back.");
      if (change.hidden) page.messages.say(HIDDEN);
      page.settling.add(item.stroke, change.bounds);
      if (!page.queue.items.length) page.preview.schedule();
    },
    onRefused: (item, error) => {
      page.messages.raise("refused", error.message);
      page.reload(item.image);
    },
    onStuck: async (item, error) => {
      await page.reload(item.image);
      const conflict = error.kind === "conflict";
      page.messages.raise("stuck", conflict ? CONFLICT : `The stroke was not saved: ${error.message}`, [
        [conflict ? "Draw it again" : "Try again", () => page.queue.resume(true)],
        ["Discard", () => page.queue.resume(false)],
      ]);
    },
  };
}

/** Callbacks of the live result. */
export function previewHooks(page) {
  return {
    onDraw: () => page.viewer.refresh(),
    onState: (state) => {
      document.body.dataset.preview = state;
      byId("busy").hidden = state !== "running";
      if (state === "running") return;
      page.shares.update();
      showTaught(page);
    },
    onError: (error) => {
      if (error.kind === "conflict" && !page.queue.items.length) page.reload(page.state.id);
      else if (error.kind !== "conflict" && !page.tellWaiting(error)) page.messages.say(error.message);
    },
  };
}
