/** The student link with its copy button. */

import { t } from "../core/strings.js";
import { button, el } from "./dom.js";

const COPIED_MS = 2000;

/**
 * A text to take along, with its copy button.
 * @param {string} link
 * @param {string} [label] what it is
 */
export function linkBox(link, label = t("link.label")) {
  const text = el("input", {
    class: "field__input link__text",
    readOnly: true,
    value: link,
    "aria-label": label,
    onfocus: () => text.select(),
  });
  return el("div", { class: "link" }, text, copyButton(link, () => text.select()));
}

/**
 * @param {string} link
 * @param {() => void} [onRefused] what to do where the clipboard is closed to pages (plain http)
 */
export function copyButton(link, onRefused = () => {}) {
  const copy = button(
    t("link.copy"),
    async () => {
      try {
        await navigator.clipboard.writeText(link);
        said(copy, t("link.copied"));
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
 */
function said(copy, word) {
  const label = /** @type {HTMLElement} */ (copy.lastElementChild);
  label.textContent = word;
  setTimeout(() => (label.textContent = t("link.copy")), COPIED_MS);
}
