// The way back from the labelling page to the review that opened it, which starts with the layer that mends a result.

import { byId } from "./dom.js";

const link = byId("back");
link.hidden = !new URLSearchParams(location.search).has("review");
if (!link.hidden) byId("layer-result").click();
link.addEventListener("click", () => (link.href = `/${location.hash}`));
