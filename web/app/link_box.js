/** The student link with its copy button. */

import { t } from "../core/strings.js";
import { button, el } from "./dom.js";

const COPIED_MS = 2000;

/**
 * A text to take along, with its copy button.
 * @param {string} link
 * @param {{label: string, copy: string}} [words] what it is, and what the button says
 */
export function linkBox(link, { label, copy } = { label: t("link.label"), copy: t("link.copy") }) {
  const text = el("input", {
    class: "field__input link__text",
    readOnly: true,
    value: link,
    "aria-label": label,
    onfocus: () => text.select(),
  });
  return el("div", { class: "link" }, text, copyButton(link, copy, () => text.select()));
}

/**
 * @param {string} link
 * @param {string} [label]
 * @param {() => void} [onRefused] what to do where the clipboard is closed to pages (plain http)
 */
export function copyButton(link, label = t("link.copy"), onRefused = () => {}) {
  const copy = button(
    label,
    async () => {
      try {
        await navigator.clipboard.writeText(link);
        say(copy, t("link.copied"), label);
      } catch {
        onRefused();
      }
    },
    { icon: "copy" },
  );
  return copy;
}

/**
 * @param {HTMLButtonElement} copy
 * @param {string} word
 * @param {string} label what it says again afterwards
 */
function say(copy, word, label) {
  const text = /** @type {HTMLElement} */ (copy.lastElementChild);
  text.textContent = word;
  setTimeout(() => (text.textContent = label), COPIED_MS);
}
