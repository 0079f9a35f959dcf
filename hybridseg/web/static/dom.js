// Short functions that make elements; data goes in as text, never as markup.

/** The element with an id. */
export function byId(id) {
  return document.getElementById(id);
}

/** Whether the main pointer of this device is a finger. */
export function isTouched() {
  return matchMedia("(pointer: coarse)").matches;
}

/** The words that suit this device: a finger, or a mouse beside a keyboard. */
export function wordsFor({ touch, keys }) {
  return isTouched() ? touch : keys;
}

/** Make an element; `properties` are set on it, `children` are elements or text. */
export function make(tag, properties = {}, ...children) {
  const { dataset, style, aria, ...others } = properties;
  const element = Object.assign(document.createElement(tag), others);
  Object.assign(element.dataset, dataset);
  Object.assign(element.style, style);
  for (const [name, value] of Object.entries(aria ?? {})) element.setAttribute(`aria-${name}`, value);
  element.append(...children);
  return element;
}

/** Set a field as a person does. */
export function enter(field, value) {
  field.value = value;
  field.dispatchEvent(new Event("input"));
}

/** Set whether a button is pressed. */
export function press(button, pressed) {
  button.setAttribute("aria-pressed", String(pressed));
}
