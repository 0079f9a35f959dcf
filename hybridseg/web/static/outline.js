// A thin outline around what is drawn, light inside and dark outside: strokes are seen on any ground.

const DIRECTIONS = [[1, 0], [-1, 0], [0, 1], [0, -1], [0.7, 0.7], [0.7, -0.7], [-0.7, 0.7], [-0.7, -0.7]];

/** Outlines the content of a canvas, whatever it is: what an eraser left too. */
export class OutlinePainter {
  #shape = document.createElement("canvas");
  #result = document.createElement("canvas");

  /** The content of a canvas with its outline, on a canvas of its own; `ratio` is device pixels in a CSS pixel. */
  outline(source, ratio) {
    for (const canvas of [this.#shape, this.#result]) {
      if (canvas.width !== source.width) canvas.width = source.width;
      if (canvas.height !== source.height) canvas.height = source.height;
    }
    const result = this.#result.getContext("2d");
    result.clearRect(0, 0, source.width, source.height);
    this.#around(result, source, "#000", 2 * ratio);
    this.#around(result, source, "#fff", ratio);
    result.drawImage(source, 0, 0);
    return this.#result;
  }

  // The shape of the content in one colour, moved by a distance in all directions.
  #around(result, source, color, distance) {
    const shape = this.#shape.getContext("2d");
    shape.globalCompositeOperation = "copy";
    shape.drawImage(source, 0, 0);
    shape.globalCompositeOperation = "source-in";
    shape.fillStyle = color;
    shape.fillRect(0, 0, source.width, source.height);
    for (const [dx, dy] of DIRECTIONS) result.drawImage(this.#shape, dx * distance, dy * distance);
  }
}
