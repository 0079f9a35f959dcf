// What tells the names of images apart: the beginning and the end that all of them share are left out.

/** The short form of each name, in their order; a whole name where little would be saved or left. */
export function shortNames(names) {
  if (names.length < 2) return names;
  // No camera and no site ends in the middle of a word or a number.
  const start = shared(names).replace(/[^_\-. ]*$/, "").length;
  const end = shared(names.map(reversed)).replace(/[^_\-. ]*$/, "").length;
  const cut = (name) => name.slice(start, name.length - end);
  return names.every((name) => name.length > start + end) ? names.map(cut) : names;
}

function shared(names) {
  let { length } = names[0];
  for (const name of names) {
    length = Math.min(length, name.length);
    for (let k = 0; k < length; k++) if (name[k] !== names[0][k]) length = k;
  }
  return names[0].slice(0, length);
}

function reversed(name) {
  return [...name].reverse().join("");
}
