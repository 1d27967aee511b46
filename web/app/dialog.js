/** A question that is answered before anything else goes on. */

import { button, el } from "./dom.js";

/**
 * Ask; the way back has the focus, and Escape takes it.
 * @param {{title: string, text?: string, yes: string, no: string}} words
 * @returns {Promise<boolean>}
 */
export function ask({ title, text, yes, no }) {
  const dialog = el("dialog", { class: "dialog", "aria-labelledby": "ask-title" });
  const answered = new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
  });
  dialog.append(
    el("h2", { class: "dialog__title", id: "ask-title" }, title),
    text ? el("p", { class: "dialog__text" }, text) : "",
    el(
      "div",
      { class: "dialog__actions" },
      button(no, () => dialog.close("no")),
      button(yes, () => dialog.close("yes"), { kind: "danger" }),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
  return /** @type {Promise<boolean>} */ (answered);
}
