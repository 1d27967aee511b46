/** The page's language, from before its first word, and the switch for another one. */

import { languageName, speak, t } from "../core/strings.js";
import { el } from "./dom.js";

const COOKIE = "lectern_language";
const KEPT_S = 365 * 24 * 3600;

// The server has chosen among the tables that there are, by the cookie or the browser's wishes.
const root = document.documentElement;
await speak(root.lang);

const known = () => (root.dataset.languages ?? root.lang).split(" ");

/** @param {string} code */
function choose(code) {
  document.cookie = `${COOKIE}=${code}; Path=/; Max-Age=${KEPT_S}; SameSite=Lax`;
  location.reload();
}

export function languageSwitch() {
  const choice = (/** @type {string} */ code) =>
    el(
      "button",
      {
        type: "button",
        class: "languages__one",
        lang: code,
        "aria-pressed": String(code === root.lang),
        onclick: () => choose(code),
      },
      languageName(code),
    );
  return el(
    "div",
    { class: "languages", role: "group", "aria-label": t("nav.language") },
    ...known().map(choice),
  );
}
