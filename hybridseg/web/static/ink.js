// The layers of the labelling page: photo, result and scribbles, with the tool on top.

import { imagePath } from "./api.js";
import { paintNorth, paintOpenPolygon, paintRing, paintStrokes } from "./overlay.js";

/** The layers of a page, the lowest first. */
export function makeLayers(page) {
  const tiles = (kind, version) => (level, i, j) => imagePath(page.state.id, kind, level, i, j) + version();
  const paint = (name) => (ctx) => {
    page.viewer.useImageCoordinates(ctx);
    if (name === "result") page.preview.paint(ctx);
    const strokes = drawnStrokes(page).filter(({ layer }) => layer === name);
    paintStrokes(ctx, strokes, page.classList.classes);
  };
  const scribbles = tiles("scribbles", () => `?v=${page.state.version}`);
  const result = tiles("result", () => `?v=${page.state.result_version}`);
  return {
    picture: { name: "picture", visible: true, smooth: true, tone: page.tone, path: tiles("picture", () => page.bands.query) },
    result: { name: "result", visible: true, paint: paint("result"), path: (...tile) => page.state.has_result && result(...tile) },
    scribbles: { name: "scribbles", visible: true, outlined: true, paint: paint("scribbles"), path: scribbles },
  };
}

/** Draw the window, the open polygon and the pen over the layers. */
export function paintTools(page, ctx) {
  const { transform } = page.viewer;
  const { stroke, polygonOpen, hoverPoint } = page.drawing;
  page.walk.paint(ctx, transform);
  if (page.state?.transform) paintNorth(ctx, page.state.transform, transform.height);
  const point = page.crosshair.visible ? page.crosshair.point : hoverPoint;
  if (polygonOpen) paintOpenPolygon(ctx, transform, stroke, point, page.classList.classes[stroke.class].color);
  const { closed } = page.corners;
  if (closed) paintOpenPolygon(ctx, transform, closed, closed.points[0], page.classList.classes[closed.class].color);
  for (const { tool, points } of drawnStrokes(page)) {
    if (tool === "fill") paintRing(ctx, transform.toScreen(points[0]), 8, "#fff");
  }
  if (point && page.choice.hasWidth) {
    paintRing(ctx, transform.toScreen(point), Math.max((page.choice.width / 2) * transform.scale, 2), "#fff");
  }
  page.crosshair.paint(ctx);
}

// Strokes that no tile shows yet.
function drawnStrokes(page) {
  const { stroke, polygonOpen } = page.drawing;
  const open = stroke && !polygonOpen ? [stroke] : [];
  return [...page.settling.strokes, ...page.queue.strokes(page.state.id), ...open];
}
