/** Building elements: the only place that turns text into nodes, and always as text. */

/** @typedef {Node | string | null | undefined | false} Child */

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, any>} [properties] `class`, `data-*`, `aria-*` and other dashed names are
 *   attributes; `on…` functions are listeners; the rest are properties of the element
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name.startsWith("on") && typeof value === "function") {
      element.addEventListener(name.slice(2), value);
    } else if (name === "class" || name === "role" || name === "for" || name.includes("-")) {
      element.setAttribute(name, String(value));
    } else {
      Object.assign(element, { [name]: value });
    }
  }
  element.append(...children.filter((child) => child instanceof Node || typeof child === "string"));
  return element;
}

/**
 * The address of a file of this folder, of the version that this page is of.
 * @param {string} file
 */
export const beside = (file) => new URL(file, import.meta.url).pathname;

/**
 * A symbol of the sprite, with no name of its own: the text beside it says what it is.
 * @param {string} name
 */
export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(space, "use");
  use.setAttribute("href", `${beside("icons.svg")}#${name}`);
  svg.append(use);
  return svg;
}

/**
 * @param {string} label
 * @param {() => unknown} onclick
 * @param {{kind?: "primary" | "danger" | "quiet" | "plain", icon?: string}} [options]
 */
export function button(label, onclick, { kind = "plain", icon: name } = {}) {
  return el(
    "button",
    { type: "button", class: `button button--${kind}`, onclick },
    name ? icon(name) : null,
    el("span", {}, label),
  );
}

/**
 * Show or hide; hidden things leave the tab order too.
 * @param {HTMLElement} element
 * @param {boolean} shown
 */
export function show(element, shown) {
  element.hidden = !shown;
}

/**
 * Act on what an event of our own carries.
 * @param {EventTarget} target
 * @param {string} type
 * @param {(detail: any) => void} act
 */
export function on(target, type, act) {
  target.addEventListener(type, (event) => act(/** @type {CustomEvent} */ (event).detail));
}
