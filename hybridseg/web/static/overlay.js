// Strokes that no tile shows yet: in progress, unsent, or just sent.

import { fillRuns } from "./areas.js";

/** Draw strokes on a layer as the server will; the context takes image coordinates. */
export function paintStrokes(ctx, strokes, classes) {
  for (const stroke of strokes) {
    ctx.globalCompositeOperation = stroke.tool === "erase" ? "destination-out" : "source-over";
    ctx.strokeStyle = ctx.fillStyle = classes[stroke.class]?.color ?? "#888888";
    if (stroke.tool === "polygon") fillPolygon(ctx, stroke.points);
    else if (stroke.tool === "wand") fillRuns(ctx, stroke);
    else if (stroke.tool !== "fill") drawLine(ctx, stroke.points, Math.max(stroke.width, 1));
  }
  ctx.globalCompositeOperation = "source-over";
}

function drawLine(ctx, points, width) {
  ctx.beginPath();
  if (points.length === 1) {
    ctx.arc(points[0][1], points[0][0], width / 2, 0, 2 * Math.PI);
    return ctx.fill();
  }
  ctx.lineWidth = width;
  ctx.lineCap = ctx.lineJoin = "round";
  for (const [row, col] of points) ctx.lineTo(col, row);
  ctx.stroke();
}

function fillPolygon(ctx, points) {
  ctx.beginPath();
  for (const [row, col] of points) ctx.lineTo(col, row);
  ctx.fill("evenodd");
}

/** Draw the sides of an open polygon and its corners, in CSS pixels; the next side goes to `end`. */
export function paintOpenPolygon(ctx, transform, stroke, end, color) {
  const corners = stroke.points.map((point) => transform.toScreen(point));
  const path = end ? [...corners, transform.toScreen(end)] : corners;
  for (const [style, width] of [["#000", 4], [color, 2]]) {
    ctx.strokeStyle = style;
    ctx.lineWidth = width;
    ctx.beginPath();
    for (const [x, y] of path) ctx.lineTo(x, y);
    ctx.stroke();
  }
  corners.forEach(([x, y], k) => paintRing(ctx, [x, y], k === 0 ? 6 : 4, "#fff"));
}

/** Draw a ring that is visible on any background. */
export function paintRing(ctx, [x, y], radius, color) {
  for (const [style, width] of [["rgba(0, 0, 0, 0.8)", 3], [color, 1.5]]) {
    ctx.strokeStyle = style;
    ctx.lineWidth = width;
    ctx.beginPath();
    ctx.arc(x, y, radius, 0, 2 * Math.PI);
    ctx.stroke();
  }
}

/** Draw an arrow to the north of the map, at the lower left corner; `transform` is that of an image on Earth. */
export function paintNorth(ctx, [a, b, , d, e], height) {
  const sign = Math.sign(a * e - b * d);
  ctx.save();
  ctx.translate(34, height - 34);
  ctx.rotate(Math.atan2(-b * sign, -a * sign));
  ctx.beginPath();
  for (const [x, y] of [[0, -20], [8, 8], [0, 2], [-8, 8]]) ctx.lineTo(x, y);
  ctx.closePath();
  ctx.fillStyle = "#fff";
  ctx.strokeStyle = "#000";
  ctx.lineWidth = 1.5;
  ctx.fill();
  ctx.stroke();
  ctx.restore();
}

/** Strokes that the server has, but whose tiles are not here yet. */
export class Settling {
  #sent = []; // {stroke, bounds}

  /** A stroke was acknowledged. */
  add(stroke, bounds) {
    if (stroke && bounds) this.#sent.push({ stroke, bounds });
  }

  /** The strokes to draw. */
  get strokes() {
    return this.#sent.map(({ stroke }) => stroke);
  }

  /** Drop those whose tiles have arrived. */
  settle(viewer) {
    this.#sent = this.#sent.filter(({ stroke, bounds }) => !viewer.isFresh(stroke.layer, bounds));
  }

  /** Another image is on view. */
  clear() {
    this.#sent = [];
  }
}
