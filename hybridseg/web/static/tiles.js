// The tiles in memory and those requested. An outdated tile is shown until the fresh one arrives.

const MAX_REQUESTS = 6;
const MAX_TILES = 256;
const RETRY_MS = 2000;

/** A small cache of bitmaps that fetches the tiles that are wanted, and only those. */
export class TileStore {
  #fetchBlob;
  #onChange;
  #onError;
  #tiles = new Map(); // key -> {bitmap, spoilt}, least recently used first
  #pending = new Map(); // key -> AbortController
  #waiting = new Set(); // keys whose fetch failed a moment ago
  #queue = []; // {key, path}, most urgent first
  #wanted = [];

  /** `fetchBlob(path, signal)` fetches a tile; `onChange()` is called when one arrives, `onError(error)` when one fails. */
  constructor(fetchBlob, onChange, onError) {
    this.#fetchBlob = fetchBlob;
    this.#onChange = onChange;
    this.#onError = onError;
  }

  /** The bitmap of a tile, fresh or outdated, or undefined. */
  bitmap(key) {
    return this.#tiles.get(key)?.bitmap;
  }

  /** Whether a tile is in memory and up to date. */
  isFresh(key) {
    const tile = this.#tiles.get(key);
    return tile !== undefined && !tile.spoilt;
  }

  /** How many requested tiles have not arrived yet. */
  get missing() {
    return this.#queue.length + this.#pending.size + this.#waiting.size;
  }

  /** Request the tiles in view, [{key, path}], most urgent first; requests for others are dropped. */
  want(wanted) {
    this.#wanted = wanted;
    const keys = new Set(wanted.map((tile) => tile.key));
    for (const [key, request] of this.#pending) {
      if (!keys.has(key)) this.#abort(key, request);
    }
    for (const key of this.#waiting) {
      if (!keys.has(key)) this.#waiting.delete(key);
    }
    for (const { key } of wanted) this.#touch(key);
    this.#queue = wanted.filter(({ key }) => !this.isFresh(key) && !this.#pending.has(key) && !this.#waiting.has(key));
    this.#pump();
  }

  /** Tiles for which `test(key)` holds have changed on the server. */
  spoil(test) {
    for (const [key, tile] of this.#tiles) if (test(key)) tile.spoilt = true;
    for (const [key, request] of this.#pending) if (test(key)) this.#abort(key, request);
  }

  /** Forget everything. */
  clear() {
    for (const [key, request] of this.#pending) this.#abort(key, request);
    for (const { bitmap } of this.#tiles.values()) bitmap?.close();
    this.#tiles.clear();
    this.#waiting.clear();
    this.#queue = [];
    this.#wanted = [];
  }

  #abort(key, request) {
    this.#pending.delete(key);
    request.abort();
  }

  #touch(key) {
    const tile = this.#tiles.get(key);
    if (!tile) return;
    this.#tiles.delete(key);
    this.#tiles.set(key, tile);
  }

  #pump() {
    while (this.#queue.length && this.#pending.size < MAX_REQUESTS) this.#fetch(this.#queue.shift());
  }

  async #fetch({ key, path }) {
    const request = new AbortController();
    this.#pending.set(key, request);
    try {
      const blob = await this.#fetchBlob(path, request.signal);
      const bitmap = await createImageBitmap(blob);
      if (this.#pending.get(key) !== request) return bitmap.close();
      this.#pending.delete(key);
      this.#keep(key, bitmap);
    } catch (error) {
      if (this.#pending.get(key) !== request) return;
      this.#pending.delete(key);
      if (error.kind === "missing") this.#keep(key, null);
      else this.#retryLater(key, error);
    }
    this.#pump();
    this.#onChange();
  }

  #keep(key, bitmap) {
    this.#tiles.get(key)?.bitmap?.close();
    this.#tiles.delete(key);
    this.#tiles.set(key, { bitmap, spoilt: false });
    for (const [oldest, tile] of this.#tiles) {
      if (this.#tiles.size <= Math.max(MAX_TILES, 2 * this.#wanted.length)) break;
      tile.bitmap?.close();
      this.#tiles.delete(oldest);
    }
  }

  #retryLater(key, error) {
    this.#waiting.add(key);
    this.#onError(error);
    setTimeout(() => {
      if (this.#waiting.delete(key)) this.#onChange();
    }, RETRY_MS);
  }
}
