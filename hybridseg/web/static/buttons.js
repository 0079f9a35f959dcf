// The buttons of the labelling page: which of them does what.

import { byId } from "./dom.js";
import { cancelWork } from "./work.js";

const NO_CLASSES = "Nothing can be drawn without classes: add some with Edit classes…";

/** Let each button do its work. */
export function listenToButtons(page) {
  const clicks = {
    "skip": () => page.canvas.focus(),
    "undo": () => page.change("undo"),
    "redo": () => page.change("redo"),
    "zoom-in": () => page.viewer.zoom(1.4),
    "zoom-out": () => page.viewer.zoom(1 / 1.4),
    "zoom-fit": () => page.viewer.fit(),
    "help": () => byId("help-dialog").showModal(),
    "edit-classes": () => page.classDialog.open(page.session.classes),
    "previous": () => page.openNeighbour(-1),
    "next": () => page.openNeighbour(1),
    "tone-stretch": () => page.state && page.tone.stretch(page.viewer.wholeBitmap(page.layers.picture)),
    "walk": () => page.toggleWalk(),
    "walk-back": () => page.stepWalk(-1),
    "walk-on": () => page.stepWalk(1),
    "run": () => page.run(),
    "accept": () => page.accept(false),
    "accept-next": () => page.accept(true),
    "cancel": () => cancelWork(page),
  };
  for (const [id, act] of Object.entries(clicks)) byId(id).addEventListener("click", act);
  byId("class-dialog").addEventListener("close", () => page.classList.current || page.messages.say(NO_CLASSES, true));
}
