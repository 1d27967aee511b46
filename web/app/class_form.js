/** What a class is made of, as fields; for creating one and for changing one. */

import { t } from "../core/strings.js";
import { field } from "./sign_in.js";

const CAPACITY_DEFAULT = 100;
const CAPACITY_MAX = 1_000_000;
const TITLE_CHARACTERS_MAX = 200;

/** @param {string} [value] */
export function titleField(value = "") {
  return field("title", t("dash.newTitle"), {
    value,
    placeholder: t("dash.newTitleHint"),
    maxLength: TITLE_CHARACTERS_MAX,
    autocomplete: "off",
    dir: "auto",
  });
}

/** @param {number} [value] */
export function capacityField(value = CAPACITY_DEFAULT) {
  return field("capacity", t("dash.capacity"), {
    type: "number",
    min: "1",
    max: String(CAPACITY_MAX),
    value: String(value),
  });
}

/**
 * What was filled in.
 * @param {HTMLFormElement} form
 */
export function classFields(form) {
  const data = new FormData(form);
  return { title: String(data.get("title")).trim(), capacity: Number(data.get("capacity")) };
}
