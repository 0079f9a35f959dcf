// The keyboard: which key does what on the labelling page, and drawing with it on the canvas.

import { classKey } from "./classes.js";
import { Commands } from "./commands.js";
import { byId, enter, wordsFor } from "./dom.js";
import { showWhere } from "./panel.js";

// For devices where that is the main way.
const TOUCHES = wordsFor({
  touch: {
    "Tap": "A dot, a corner, fill; or the area of the wand, which a second tap applies",
    "Drag": "Draw; with the hand, move the image",
    "Two fingers": "Move and zoom the image",
  },
  keys: {},
});
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** All commands of the page by key. */
export function labelCommands(page) {
  const commands = new Commands();
  const add = (...command) => commands.add(...command);
  const resize = (steps) => page.wand.resize(steps) || (page.choice.hasWidth && page.choice.resize(steps));
  for (const [touch, words] of Object.entries(TOUCHES)) add("By touch", [touch], words);
  for (const [tool, key] of Object.entries({ hand: "h", pen: "p", erase: "e", polygon: "g", fill: "b", wand: "a" })) {
    add("Tools", [key], { hand: "Hand", pen: "Pen", erase: "Eraser", polygon: "Polygon", fill: "Fill", wand: "Smart wand" }[tool], () =>
      page.choice.pickTool(tool),
    );
  }
  add("Tools", ["+"], "Larger pen, or areas of the smart wand; so does the wheel with Ctrl or Alt", () => resize(1));
  add("Tools", ["="], "", () => resize(1));
  add("Tools", ["-"], "Smaller pen or areas", () => resize(-1));
  add("Tools", ["l"], "Draw on scribbles or on the result", () =>
    page.choice.pickLayer(page.choice.layer === "scribbles" ? "result" : "scribbles"),
  );
  add("Classes", ["c"], "The class under the pointer or the crosshair", () => page.picker.pickHere());
  for (let k = 0; k < 10; k++) add("Classes", [classKey(k)], "", () => page.classList.pick(k));
  add("Classes", ["1 … 9, 0"], "The class with this number");
  add("Classes", ["Escape"], "Next class; or cancel the polygon or the stroke", () => page.escape());
  add("History", ["z", "ctrl+z"], "Undo", () => page.change("undo"));
  add("History", ["y", "ctrl+y", "ctrl+shift+z"], "Redo", () => page.change("redo"));
  add("View", ["Wheel"], "Zoom at the pointer; so does pinching");
  add("View", ["Space+drag"], "Move the image; so do the middle button and two fingers");
  add("View", ["i"], "Zoom in", () => page.viewer.zoom(1.4));
  add("View", ["o"], "Zoom out", () => page.viewer.zoom(1 / 1.4));
  add("View", ["f"], "Show the whole image", () => page.viewer.fit());
  add("View", ["t"], "Scribbles on or off", () => byId("show-scribbles").click());
  add("View", ["r"], "Result on or off", () => byId("show-result").click());
  add("View", ["v"], "Live result on or off", () => byId("live").click());
  add("View", ["m"], "Overview on or off", flipOverview);
  add("View", ["x"], "While held: the bare photo", () => page.setBare(true));
  add("View", ["["], "Fainter layers", () => stepOpacity(-10));
  add("View", ["]"], "Stronger layers", () => stepOpacity(10));
  add("Images", ["PageDown"], "Next image", () => page.openNeighbour(1));
  add("Images", ["PageUp"], "Previous image", () => page.openNeighbour(-1));
  add("Images", ["w"], "Walking window on or off", () => page.toggleWalk());
  add("Images", ["."], "Next window", () => page.stepWalk(1));
  add("Images", [","], "Previous window", () => page.stepWalk(-1));
  add("Finish", ["Enter"], "Label the whole image", () => page.run());
  add("Finish", ["s"], "Accept: write the files", () => page.accept(false));
  add("Finish", ["shift+s"], "Accept and open the next image", () => page.accept(true));
  if (!byId("back").hidden) add("Finish", ["q"], "Back to the review", () => byId("back").click());
  add("Finish", ["?"], "This help", () => byId("help-dialog").showModal());
  add("On the canvas", ["Arrow keys"], "Move the crosshair; with Shift by one pixel of the image");
  add("On the canvas", [" "], "Pen down or up; a corner; fill");
  add("Polygon and fill", ["Click"], "A corner; a double click, or one on the first corner, closes the polygon");
  add("Polygon and fill", ["Enter"], "Close the polygon");
  add("Polygon and fill", ["Backspace"], "Remove the last corner");
  add("Polygon and fill", ["Escape"], "Drop the polygon; or be done with the corners of a closed one");
  add("Polygon and fill", ["Drag"], "Move a corner; onto its neighbour: remove it");
  add("Polygon and fill", ["Click on a side"], "Add a corner there");
  add("Polygon and fill", ["Alt+click", "Delete"], "Remove a corner");
  add("Polygon and fill", ["Double click"], "Where no polygon is open: show the corners of the one that is there");
  add("Polygon and fill", ["Click"], "Fill: on Scribbles the area that scribbles enclose; on Result the connected area of one class");
  add("Smart wand", ["Click"], "Select the area under the pointer; a second click applies it; dragging adds what it crosses");
  add("Smart wand", ["shift+Click"], "Add an area; so does Space with Shift");
  add("Smart wand", ["alt+Click"], "Remove an area; so does Space with Alt");
  add("Smart wand", ["Enter"], "Apply the area");
  add("Smart wand", ["Escape"], "Drop the area");
  return commands;
}

/** Listen to the keyboard: commands, the crosshair, and Space, which moves the image while held. */
export function listenToKeys(page, commands) {
  const { canvas, input, drawing, crosshair } = page;
  document.addEventListener("keydown", (event) => {
    if (document.querySelector("dialog[open]")) return;
    if (isTyping(event)) return event.key === "Enter" && event.target.matches("input[type=number]") && event.target.blur();
    if (event.key === " ") return pressSpace(event);
    if (drawing.polygonOpen && polygonKey(event)) return event.preventDefault();
    if (event.key === "Delete" && page.corners.removeTouched()) return event.preventDefault();
    if (!belongsToControl(event) && page.wand.handleKey(event)) return event.preventDefault();
    if (event.target === canvas && event.key in ARROWS) {
      event.preventDefault();
      crosshair.move(...ARROWS[event.key], event.shiftKey);
      return showWhere(crosshair.point, page.state?.transform);
    }
    if (!belongsToControl(event) && !event.defaultPrevented) commands.handle(event);
  });
  document.addEventListener("keyup", (event) => {
    if (event.key.toLowerCase() === "x") page.setBare(false);
    if (event.key === " ") releaseSpace(event);
  });
  document.addEventListener("click", letGo);
  window.addEventListener("blur", () => {
    page.setBare(false);
    holdSpace(false);
  });
  canvas.addEventListener("focus", () => {
    if (!input.pressed) crosshair.show();
  });
  canvas.addEventListener("blur", () => {
    if (!drawing.stroke) crosshair.hide();
  });

  function pressSpace(event) {
    if (event.target.matches("button, input, summary")) return;
    event.preventDefault();
    if (event.repeat) return;
    input.pannedWithSpace = false;
    holdSpace(true);
  }

  // A tap of Space draws; Space that moved the image does not.
  function releaseSpace(event) {
    const tapped = input.spaceHeld && !input.pannedWithSpace;
    holdSpace(false);
    if (!tapped || event.target !== canvas) return;
    const words = page.wand.active && crosshair.visible ? page.wand.tap(crosshair.point, event) : crosshair.press();
    if (words) page.messages.say(words);
  }

  function holdSpace(held) {
    input.spaceHeld = held;
    input.updateCursor();
  }

  function polygonKey(event) {
    if (event.key === "Backspace") drawing.removeCorner();
    else if (event.key === "Enter") drawing.closePolygon();
    else return false;
    return true;
  }
}

function isTyping(event) {
  return event.target.matches("input[type=text], input[type=search], input[type=number], select, textarea");
}

// After a click the focus returns to the image: Space and Enter must not press the same button again.
function letGo({ detail }) {
  const { activeElement } = document;
  if (detail && activeElement.matches("button, input[type=checkbox]") && !activeElement.closest("dialog")) activeElement.blur();
}

// Enter presses a focused button, and a slider has its own keys.
function belongsToControl({ key, target }) {
  if (key === "Enter") return target.matches("button, input[type=file], [role=listbox]");
  return target.matches("input[type=range]") && (key.startsWith("Page") || key.startsWith("Arrow"));
}

function flipOverview() {
  const field = byId("minimap-setting");
  enter(field, field.value === "shown" ? "hidden" : "shown");
}

function stepOpacity(percent) {
  enter(byId("opacity"), byId("opacity").valueAsNumber + percent);
}
