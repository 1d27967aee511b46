/** The first page: what this is, and sign up or in. */

import { me } from "../core/api.js";
import { t } from "../core/strings.js";
import { el, icon } from "./dom.js";
import { account, frame } from "./frame.js";
import { signCard } from "./sign_in.js";

const toDashboard = () => location.assign("/dashboard");

async function open() {
  const pitch = el(
    "section",
    { class: "pitch" },
    el("h1", { class: "pitch__title" }, t("app.tagline")),
    el("p", { class: "pitch__lead" }, t("app.lead")),
  );
  const points = el(
    "ul",
    { class: "points" },
    point("screen", t("app.pointScreen"), t("app.pointScreenText")),
    point("people", t("app.pointLink"), t("app.pointLinkText")),
    point("list", t("app.pointAttendance"), t("app.pointAttendanceText")),
  );
  const user = await me().catch(() => null);
  const side = user
    ? el(
        "section",
        { class: "card card--sign" },
        el("p", { class: "card__lead" }, t("sign.as", { name: user.name })),
        el("a", { class: "button button--primary button--wide", href: "/dashboard" }, t("nav.dashboard")),
      )
    : signCard({ role: "teacher", onSigned: toDashboard });
  frame({
    title: t("app.name"),
    bar: user ? [account(user)] : [],
    main: [el("div", { class: "landing" }, pitch, side, points)],
    foot: user !== null,
  });
}

/**
 * @param {string} symbol
 * @param {string} title
 * @param {string} text
 */
function point(symbol, title, text) {
  return el(
    "li",
    { class: "point" },
    icon(symbol),
    el("p", {}, el("strong", { class: "point__title" }, title), el("span", { class: "point__text" }, text)),
  );
}

void open();
