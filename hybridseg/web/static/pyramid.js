// Which tiles cover a view, and what each of them covers. Level L is the image reduced by 2 ** L.

/** The level whose pixels are nearest to those of the screen; `scale` is screen pixels for one of the image. */
export function pickLevel(scale, levels) {
  return Math.min(Math.max(Math.floor(Math.log2(1 / scale) + 0.3), 0), levels - 1);
}

/** The tiles of a level that meet [row0, col0, row1, col1], those in the middle first. */
export function tilesIn([row0, col0, row1, col1], level, tileSize) {
  const span = tileSize * 2 ** level;
  const tiles = [];
  for (let i = Math.floor(row0 / span); i * span < row1; i++) {
    for (let j = Math.floor(col0 / span); j * span < col1; j++) tiles.push({ level, i, j });
  }
  const middle = [(row0 + row1) / 2 / span - 0.5, (col0 + col1) / 2 / span - 0.5];
  const distance = (tile) => (tile.i - middle[0]) ** 2 + (tile.j - middle[1]) ** 2;
  return tiles.sort((a, b) => distance(a) - distance(b));
}

/** What a tile covers in the image: [row0, col0, row1, col1], half open. */
export function tileBounds({ level, i, j }, image) {
  const span = image.tile_size * 2 ** level;
  return [i * span, j * span, Math.min((i + 1) * span, image.rows), Math.min((j + 1) * span, image.cols)];
}

/** The tile `up` levels above that holds this one. */
export function ancestor({ level, i, j }, up) {
  return { level: level + up, i: i >> up, j: j >> up };
}

/** The four tiles one level below. */
export function children({ level, i, j }) {
  if (level === 0) return [];
  return [0, 1].flatMap((di) => [0, 1].map((dj) => ({ level: level - 1, i: 2 * i + di, j: 2 * j + dj })));
}

/** Whether two half-open boxes share a pixel. */
export function meet(a, b) {
  return a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
}
