// The border of the list of images, which is dragged, or moved with the arrow keys.

const LEAST = 160;
const STEP = 16;

/** Let a person choose the width of the list; it is kept. */
export function makeBorder(border, panel, settings) {
  const set = (width) => {
    const most = Math.max(window.innerWidth * 0.5, LEAST);
    const pixels = Math.round(Math.min(Math.max(width, LEAST), most));
    document.documentElement.style.setProperty("--left", `${pixels}px`);
    border.setAttribute("aria-valuenow", pixels);
    return pixels;
  };
  const move = (width) => settings.set("left", set(width));
  border.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    border.setPointerCapture(event.pointerId);
  });
  border.addEventListener("pointermove", (event) => {
    if (border.hasPointerCapture(event.pointerId)) move(event.clientX - panel.getBoundingClientRect().left);
  });
  border.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -STEP, ArrowRight: STEP }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    move(panel.getBoundingClientRect().width + step);
  });
  if (settings.get("left")) set(settings.get("left"));
}
