// Preset class lists to start from.

/** Names and colours, by the name of the set. */
export const READY_SETS = {
  Coast: [
    ["water", "#1c5e96"], ["foam", "#fafafa"], ["swash", "#58c4be"], ["wet sand", "#966f4c"],
    ["dry sand", "#f0d68c"], ["dune", "#e9967a"], ["cliff", "#8b5a8c"], ["vegetation", "#1a8a3c"],
    ["road", "#585860"], ["building", "#d23a32"], ["sky", "#97caeb"],
  ],
  River: [
    ["water", "#1c5e96"], ["white water", "#fafafa"], ["gravel bar", "#c8a882"], ["sand bar", "#f0d68c"],
    ["bank", "#8a5a34"], ["wood", "#e0762e"], ["vegetation", "#1a8a3c"], ["shadow", "#46325a"],
  ],
  "Satellite shoreline": [
    ["water", "#195abe"], ["whitewater", "#fafafa"], ["sediment", "#e6be6e"], ["other", "#7a4a78"],
  ],
  "Land and water": [["land", "#c98a3c"], ["water", "#195abe"]],
};

/** A colour for one more class: hues a golden ratio apart stay distinct. */
export function spareColor(k) {
  const hue = (0.11 + k * 0.618034) % 1;
  const channel = (n) => {
    const place = (n + hue * 12) % 12;
    const value = 0.5 - 0.38 * Math.max(-1, Math.min(place - 3, 9 - place, 1));
    return Math.round(value * 255).toString(16).padStart(2, "0");
  };
  return `#${channel(0)}${channel(8)}${channel(4)}`;
}
