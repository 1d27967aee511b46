/** What every page has round its content: the bar, the main landmark, the state chip. */

import { signOut } from "../core/api.js";
import { t } from "../core/strings.js";
import { beside, button, el } from "./dom.js";
import { languageSwitch } from "./language.js";

/** @typedef {import("../core/api.js").ClassState} ClassState */
/** @typedef {import("./dom.js").Child} Child */

// Pages that are read are read anew when one comes back to them: one may have signed out since.
let isReadAnew = false;

/**
 * Put bar and content into the page.
 * @param {{title: string, bar?: Child[], main: Child[], foot?: boolean}} content `title` is the
 *   document's; pages that are read, not worked in, have a foot
 * @returns {HTMLElement} the main element
 */
export function frame({ title, bar = [], main, foot = false }) {
  document.title = title === t("app.name") ? title : `${title} · ${t("app.name")}`;
  if (foot && !isReadAnew) {
    isReadAnew = true;
    addEventListener("pageshow", (event) => {
      if (event.persisted) location.reload();
    });
  }
  const content = el("main", { id: "content", class: "main", tabIndex: -1 }, ...main);
  document.body.replaceChildren(
    el("a", { class: "skip", href: "#content" }, t("nav.skip")),
    el("header", { class: "bar" }, brand(), ...bar),
    content,
    ...(foot ? [footer()] : []),
  );
  return content;
}

function footer() {
  return el(
    "footer",
    { class: "foot" },
    languageSwitch(),
    el("a", { class: "foot__link", href: "/api/docs" }, t("nav.api")),
  );
}

function brand() {
  return el(
    "a",
    { class: "brand", href: "/", "aria-label": t("app.name") },
    el("img", { src: beside("lectern.svg"), alt: "", width: 28, height: 28 }),
    el("span", { class: "brand__name" }, t("app.name")),
  );
}

/** @param {import("../core/api.js").User} user */
export function account(user) {
  const leave = async () => {
    await signOut();
    sessionStorage.clear();
    location.assign("/");
  };
  return el(
    "div",
    { class: "account" },
    user.is_operator
      ? el("a", { class: "account__page account__operator", href: "/operator" }, t("nav.operator"))
      : null,
    el("a", { class: "account__page", href: "/dashboard" }, t("nav.dashboard")),
    el(
      "a",
      { class: "account__name", href: "/account", title: t("sign.as", { name: user.name }), dir: "auto" },
      user.name,
    ),
    button(t("nav.signOut"), leave, { kind: "quiet" }),
  );
}

/** @param {ClassState} state */
export function chip(state) {
  return el("span", { class: `chip chip--${state}` }, t(`state.${state}`));
}

/**
 * A page state that needs its reader: what is the matter, and what to do next.
 * @param {{title: string, text?: string, actions?: HTMLElement[], busy?: boolean, tone?: string}} what
 */
export function notice({ title, text, actions = [], busy = false, tone = "calm" }) {
  return el(
    "section",
    { class: `notice notice--${tone}`, "data-busy": busy ? "yes" : "no" },
    busy ? el("div", { class: "spinner", "aria-hidden": "true" }) : null,
    el("h1", { class: "notice__title" }, title),
    text ? el("p", { class: "notice__text" }, text) : null,
    actions.length > 0 ? el("div", { class: "notice__actions" }, ...actions) : null,
  );
}

/** A line that screen readers are told of when it changes. */
export function status() {
  return el("p", { class: "status", role: "status", "aria-live": "polite" });
}
