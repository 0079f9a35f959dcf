// The canvas: a photo and layers over it, from tiles, at any zoom. It draws only when something changed.

import { OutlinePainter } from "./outline.js";
import { ancestor, children, meet, pickLevel, tileBounds, tilesIn } from "./pyramid.js";
import { TileStore } from "./tiles.js";
import { Transform } from "./transform.js";

/**
 * Shows one image. A layer is {name, path(level, i, j), visible, opacity, smooth, clip, outlined, tone, paint}: `path`
 * returns nothing where there are no tiles; `clip` is the part of the width that shows it, [0, 1] for all; `outlined`
 * gives what is drawn on it an outline; `tone` changes the brightness of its tiles; `paint(ctx)` draws over its tiles,
 * before its opacity is applied.
 */
export class Viewer {
  transform = new Transform();
  layers = [];
  above = []; // functions of the context that draw over everything, in CSS pixels
  image = null;
  bare = false;
  #canvas;
  #scratch = document.createElement("canvas");
  #outlines = new OutlinePainter();
  #fitted = null; // {bounds, margin} that the view was fitted to, until it is moved
  #store;
  #frame = 0;
  #targets = []; // {layer, tile, key}
  #wasComplete = false;
  #listeners = { view: [], tiles: [], complete: [] };

  constructor(canvas, fetchBlob, onError) {
    this.#canvas = canvas;
    this.#store = new TileStore(fetchBlob, () => this.refresh(), onError);
    new ResizeObserver(() => this.#resize()).observe(canvas);
    canvas.hybridseg = {
      toScreen: (row, col) => this.#shift(this.transform.toScreen([row, col]), 1),
      toImage: (x, y) => this.transform.toImage(this.#shift([x, y], -1)),
    };
  }

  /** Listen to an event: "view" (the view changed), "tiles" (how many are missing), "complete" (none is missing). */
  on(event, listener) {
    this.#listeners[event].push(listener);
  }

  /** Show another image with these layers, the photo first. */
  open(image, layers) {
    this.image = null;
    this.#store.clear();
    this.#resize();
    this.image = image;
    this.layers = layers;
    this.#wasComplete = false;
    this.transform.setImage(image.rows, image.cols);
    this.fit();
  }

  /** The view has moved. */
  viewChanged() {
    this.refresh();
    for (const listener of this.#listeners.view) listener();
  }

  /** Zoom about a point of the canvas, by default its middle. */
  zoom(factor, point = [this.transform.width / 2, this.transform.height / 2]) {
    this.#fitted = null;
    this.transform.zoomAbout(point, factor);
    this.viewChanged();
  }

  /** Move the image on the canvas by CSS pixels. */
  pan(dx, dy) {
    this.#fitted = null;
    this.transform.panBy(dx, dy);
    this.viewChanged();
  }

  /** Show all of the bounds, or of the image; so it stays when the window changes its size. */
  fit(bounds, margin) {
    this.#fitted = { bounds, margin };
    this.transform.fit(bounds, margin);
    this.viewChanged();
  }

  /** Return to an earlier `transform.place`. */
  goTo(place) {
    this.#fitted = null;
    this.transform.place = place;
    this.viewChanged();
  }

  /** The tiles of a layer changed on the server within the bounds. */
  spoil(name, bounds) {
    this.#store.spoil((key) => {
      const [layer, level, i, j] = key.split("/");
      return layer === name && meet(tileBounds({ level: +level, i: +i, j: +j }, this.image), bounds);
    });
    this.refresh();
  }

  /** Whether the visible tiles of a layer within the bounds are up to date. */
  isFresh(name, bounds) {
    return this.#targets
      .filter(({ layer, tile }) => layer.name === name && meet(tileBounds(tile, this.image), bounds))
      .every(({ key }) => this.#store.isFresh(key));
  }

  /** The colour of a layer at a point in view, [red, green, blue, alpha], without its opacity. */
  colorAt(layer, point) {
    this.#compose(layer);
    const [x, y] = this.transform.toScreen(point).map((value) => Math.floor(value * this.ratio));
    return this.#scratch.getContext("2d").getImageData(x, y, 1, 1).data;
  }

  /** The coarsest tile of a layer: all of the image; undefined until it is here. */
  wholeBitmap(layer) {
    return this.#store.bitmap(tileKey(layer, { level: this.image.levels - 1, i: 0, j: 0 }));
  }

  /** Ask for the tiles that are needed now, and draw with the next frame. */
  refresh() {
    if (!this.image) return;
    this.#plan();
    if (!this.#frame) this.#frame = requestAnimationFrame(() => this.#draw());
  }

  /** Let a context use image coordinates: x is the column, y the row, a pixel spans -0.5..0.5 about its centre. */
  useImageCoordinates(ctx) {
    const [x, y] = this.transform.toScreen([0, 0]);
    const scale = this.transform.scale;
    ctx.setTransform(scale * this.ratio, 0, 0, scale * this.ratio, x * this.ratio, y * this.ratio);
  }

  /** Device pixels in a CSS pixel. */
  get ratio() {
    return window.devicePixelRatio || 1;
  }

  #plan() {
    const { tile_size: tileSize, levels } = this.image;
    const level = pickLevel(this.transform.scale * this.ratio, levels);
    const inView = tilesIn(this.transform.visible(), level, tileSize);
    const shown = this.layers.filter((layer) => layer.visible && layer.path(0, 0, 0));
    const asTarget = (layer) => (tile) => ({ layer, tile, key: tileKey(layer, tile) });
    this.#targets = shown.flatMap((layer) => inView.map(asTarget(layer)));
    // The coarsest tile can stand in for every other one, so it comes first.
    const coarsest = { level: levels - 1, i: 0, j: 0 };
    const wanted = [...shown.slice(0, 1).map((layer) => asTarget(layer)(coarsest)), ...this.#targets];
    const unique = new Map(wanted.map((target) => [target.key, target]));
    this.#store.want(
      [...unique.values()].map(({ layer, tile, key }) => ({ key, path: layer.path(tile.level, tile.i, tile.j) })),
    );
    for (const listener of this.#listeners.tiles) listener(this.#store.missing);
  }

  #draw() {
    this.#frame = 0;
    const ctx = this.#canvas.getContext("2d");
    ctx.resetTransform();
    ctx.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    const shown = this.layers.filter((layer, k) => layer.visible && (k === 0 || !this.bare));
    for (const layer of shown) this.#drawLayer(ctx, layer);
    ctx.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    for (const paint of this.above) paint(ctx);
    const complete = this.#store.missing === 0;
    if (complete && !this.#wasComplete) for (const listener of this.#listeners.complete) listener();
    this.#wasComplete = complete;
  }

  // Each layer is composed off screen: a transparent pixel of a fine tile must not show a coarse one below.
  #compose(layer) {
    const { width, height } = this.#canvas;
    const beside = this.#scratch.getContext("2d");
    beside.resetTransform();
    beside.clearRect(0, 0, width, height);
    beside.save();
    this.#clipToImage(beside);
    for (const target of this.#targets) if (target.layer === layer) this.#drawTile(beside, layer, target.tile);
    layer.paint?.(beside);
    beside.restore();
  }

  #drawLayer(ctx, layer) {
    const { width, height } = this.#canvas;
    this.#compose(layer);
    const [from, to] = (layer.clip ?? [0, 1]).map((share) => Math.round(share * width));
    if (to <= from) return;
    const drawn = layer.outlined ? this.#outlines.outline(this.#scratch, this.ratio) : this.#scratch;
    ctx.globalAlpha = layer.opacity ?? 1;
    ctx.drawImage(drawn, from, 0, to - from, height, from, 0, to - from, height);
    ctx.globalAlpha = 1;
  }

  #drawTile(ctx, layer, tile) {
    if (this.#drawPart(ctx, layer, tile, tile)) return;
    for (let up = 1; tile.level + up < this.image.levels; up++) {
      if (this.#drawPart(ctx, layer, ancestor(tile, up), tile)) break;
    }
    for (const child of children(tile)) this.#drawPart(ctx, layer, child, child);
  }

  // Draw the part of a tile that lies in the box of a finer one (or of itself).
  #drawPart(ctx, layer, tile, within) {
    const stored = this.#store.bitmap(tileKey(layer, tile));
    if (!stored) return false;
    const bitmap = layer.tone?.apply(stored) ?? stored;
    const size = this.image.tile_size;
    const [row, col] = [tile.i * size * 2 ** tile.level, tile.j * size * 2 ** tile.level];
    const [row0, col0] = [within.i * size * 2 ** within.level, within.j * size * 2 ** within.level];
    const [x, y] = [(col0 - col) / 2 ** tile.level, (row0 - row) / 2 ** tile.level];
    const side = (size * 2 ** within.level) / 2 ** tile.level;
    const [w, h] = [Math.min(side, bitmap.width - x), Math.min(side, bitmap.height - y)];
    if (w <= 0 || h <= 0) return true;
    const [left, top] = this.#devicePoint(row0, col0);
    const [right, bottom] = this.#devicePoint(row0 + h * 2 ** tile.level, col0 + w * 2 ** tile.level);
    ctx.imageSmoothingEnabled = Boolean(layer.smooth) && (tile.level > 0 || this.transform.scale * this.ratio < 1);
    ctx.clearRect(left, top, right - left, bottom - top);
    ctx.drawImage(bitmap, x, y, w, h, left, top, right - left, bottom - top);
    return true;
  }

  // The last column of a reduced tile may reach beyond the image.
  #clipToImage(ctx) {
    const [left, top] = this.#devicePoint(0, 0);
    const [right, bottom] = this.#devicePoint(this.image.rows, this.image.cols);
    ctx.beginPath();
    ctx.rect(left, top, right - left, bottom - top);
    ctx.clip();
  }

  // The corner between pixels, rounded to device pixels so that tiles meet without a seam.
  #devicePoint(row, col) {
    return this.transform.toScreen([row - 0.5, col - 0.5]).map((value) => Math.round(value * this.ratio));
  }

  #shift([x, y], sign) {
    const box = this.#canvas.getBoundingClientRect();
    return [x + sign * box.left, y + sign * box.top];
  }

  #resize() {
    const { clientWidth, clientHeight } = this.#canvas;
    if (!clientWidth || !clientHeight) return;
    for (const canvas of [this.#canvas, this.#scratch]) {
      canvas.width = Math.round(clientWidth * this.ratio);
      canvas.height = Math.round(clientHeight * this.ratio);
    }
    this.transform.resize(clientWidth, clientHeight);
    if (!this.image) return;
    if (this.#fitted) this.fit(this.#fitted.bounds, this.#fitted.margin);
    else this.viewChanged();
  }
}

function tileKey(layer, { level, i, j }) {
  return `${layer.name}/${level}/${i}/${j}`;
}
