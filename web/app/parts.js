/** Parts of a page of settings: titled, with forms that say what became of them. */

import { LecternError, codeOf } from "../core/errors.js";
import { sentence } from "../core/strings.js";
import { el } from "./dom.js";
import { status } from "./frame.js";

/**
 * A titled part of the panel.
 * @param {string} title
 * @param {...import("./dom.js").Child} children
 */
export function part(title, ...children) {
  return el("div", { class: "part" }, el("h2", { class: "part__title" }, title), ...children);
}

/**
 * A form that says what became of it.
 * @param {string} kind a class of its own
 * @param {string} label of its button
 * @param {(data: FormData, form: HTMLFormElement) => Promise<string>} act returns what to say
 * @param {...HTMLElement} fields
 */
export function form(kind, label, act, ...fields) {
  const error = el("p", { class: "form__error", role: "alert" });
  const said = status();
  const submit = el("button", { type: "submit", class: "button" }, label);
  const made = el("form", { class: `form box ${kind}` }, ...fields, submit, error, said);
  made.addEventListener("submit", async (event) => {
    event.preventDefault();
    submit.disabled = true;
    error.textContent = said.textContent = "";
    try {
      said.textContent = await act(new FormData(made), made);
    } catch (thrown) {
      error.textContent = sentenceOf(thrown);
    } finally {
      submit.disabled = false;
    }
  });
  return made;
}

/**
 * One entry of a list of facts.
 * @param {string} name
 * @param {string} value
 */
export function fact(name, value) {
  return el("div", { class: "fact" }, el("dt", {}, name), el("dd", {}, value));
}

/** @param {unknown} thrown */
export function sentenceOf(thrown) {
  return sentence(codeOf(thrown), thrown instanceof LecternError ? thrown.detail : "");
}
