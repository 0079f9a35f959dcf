// Downloads a file that the server sent.

import { make } from "./dom.js";

/** Let the browser save a file, {blob, name}. */
export function saveFile({ blob, name }) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}
