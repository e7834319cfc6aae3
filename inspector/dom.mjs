/** Elements and numbers of the page. Text from files is only ever set as text, never as HTML. */

/**
 * Makes an element.
 *
 * @param {string} tag with classes, such as `td.right`
 * @param {Record<string, any>} [properties] attributes; `on...` are listeners
 * @param {...(Node | string | number)} children
 * @returns {HTMLElement}
 */
export function element(tag, properties = {}, ...children) {
  const [name, ...classes] = tag.split('.');
  const made = document.createElement(name);
  if (classes.length > 0) made.className = classes.join(' ');
  for (const [key, value] of Object.entries(properties)) {
    if (key.startsWith('on')) made.addEventListener(key.slice(2), value);
    else if (value !== undefined) made.setAttribute(key, String(value));
  }
  made.append(...children.map((child) => (child instanceof Node ? child : String(child))));
  return made;
}

/** @param {string} id @returns {any} */
export const byId = (id) => document.getElementById(id);

/** A number of bytes, with a unit. @param {number | bigint} value */
export function bytesText(value) {
  let bytes = Number(value);
  if (bytes < 10000) return `${bytes} B`;
  for (const unit of ['kB', 'MB', 'GB', 'TB']) {
    bytes /= 1000;
    if (bytes < 1000) return `${bytes.toPrecision(3)} ${unit}`;
  }
  return `${(bytes / 1000).toFixed(0)} PB`;
}

/** @param {number | bigint} value */
export const countText = (value) => value.toLocaleString('en');

/** A number of things. @param {number} count @param {string} thing */
export const counted = (count, thing) => `${countText(count)} ${thing}${count === 1 ? '' : 's'}`;

/** @param {number | undefined} bits */
export const bitsText = (bits) => (bits === undefined ? '–' : bits.toFixed(2));

/** @param {number} offset */
export const offsetText = (offset) => `0x${offset.toString(16)}`;

/** @param {number} share */
export const percentText = (share) => `${(100 * share).toFixed(share < 0.1 ? 2 : 1)} %`;
