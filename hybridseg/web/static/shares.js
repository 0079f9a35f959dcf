// The share of each class beside its name: of the view while the result is live, else of the whole image.

import { imagePath } from "./api.js";

/** Keeps the shares in step with what is on view. */
export class Shares {
  #page;
  #known = { key: null, pixels: null }; // of the whole image

  constructor(page) {
    this.#page = page;
  }

  /** Something on view has changed. */
  async update() {
    const { preview, classList, state } = this.#page;
    if (preview.pixels) return classList.showShares(preview.pixels, "in view");
    if (!state?.has_result) return classList.showShares(null);
    const key = `${state.id} ${state.result_version} ${state.classes_version}`;
    if (this.#known.key !== key) {
      this.#known = { key, pixels: null };
      const found = await this.#page.api.get(imagePath(state.id, "shares")).catch(() => null);
      if (this.#known.key !== key) return;
      // Asked again with the next change, where no answer came.
      this.#known = { key: found ? key : null, pixels: found?.pixels ?? null };
    }
    if (!preview.pixels) classList.showShares(this.#known.pixels, "of the image");
  }
}
