// On narrow screens the list of images is a drawer, opened with a button.

import { isTouched } from "./dom.js";

/** Let a button open and close the drawer; returns the function that closes it. */
export function makeDrawer(button, firstField) {
  const set = (open) => {
    document.body.classList.toggle("drawer-open", open);
    button.setAttribute("aria-expanded", String(open));
  };
  button.addEventListener("click", () => {
    const open = !document.body.classList.contains("drawer-open");
    set(open);
    // There a keyboard would come up, and cover the list.
    if (open && !isTouched()) firstField.focus();
  });
  return () => set(false);
}
