// A question to the person, in a dialog.

import { byId, make } from "./dom.js";

/** Ask; resolves to whether the person agreed. `parts` are elements or texts; `yes` names what will happen. */
export function ask(title, parts, yes) {
  const dialog = byId("question");
  byId("question-title").textContent = title;
  byId("question-yes").textContent = yes;
  byId("question-parts").replaceChildren(...parts.map((part) => (part instanceof Node ? part : make("p", { textContent: part }))));
  dialog.returnValue = "";
  dialog.showModal();
  byId("question-yes").focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}
