/** The teacher's page about one class: how it stands, its link, its settings, who was there. */

import * as api from "../core/api.js";
import { codeOf } from "../core/errors.js";
import { duration, moment, number, sentence, t } from "../core/strings.js";
import { attendancePanel } from "./attendance.js";
import { capacityField, classFields, titleField } from "./class_form.js";
import { ask } from "./dialog.js";
import { button, el, show } from "./dom.js";
import { account, chip, frame, notice, status } from "./frame.js";
import { linkBox } from "./link_box.js";
import { fact, sentenceOf } from "./parts.js";
import { qrPicture } from "./qr.js";
import { signCard } from "./sign_in.js";

/** @typedef {import("../core/api.js").Class} Class */
/** @typedef {import("../core/api.js").User} User */

const classId = decodeURIComponent(location.pathname.split("/")[2] ?? "");

async function open() {
  try {
    const user = await api.me();
    if (user === null) return askToSignIn();
    render(user, await api.classOf(classId));
  } catch (error) {
    trouble(codeOf(error));
  }
}

function askToSignIn() {
  const card = signCard({ role: "teacher", onSigned: () => void open() });
  frame({ title: t("sign.in"), main: [el("div", { class: "centre" }, card)] });
}

/** @param {string} code */
function trouble(code) {
  const back = el("a", { class: "button", href: "/dashboard" }, t("teach.back"));
  const title = t("error.title");
  frame({ title, main: [notice({ title, text: sentence(code), tone: "bad", actions: [back] })] });
}

/**
 * @param {User} user
 * @param {Class} item
 */
function render(user, item) {
  const again = (/** @type {Class} */ changed) => render(user, changed);
  frame({
    title: item.title,
    bar: [account(user)],
    main: [
      overview(item, again),
      item.state === "ended" ? null : link(item),
      item.state === "ended" ? null : settings(item, again),
      attendancePanel(item),
    ],
    foot: true,
  });
}

/**
 * @param {Class} item
 * @param {(changed: Class) => void} again
 */
function overview(item, again) {
  const error = el("p", { class: "form__error", role: "alert" });
  return el(
    "section",
    { class: "panel panel--wide" },
    el(
      "div",
      { class: "heading" },
      el("h1", { class: "panel__title", dir: "auto" }, item.title),
      chip(item.state),
    ),
    el(
      "dl",
      { class: "facts box" },
      fact(t("col.created"), moment(item.created_at)),
      item.started_at ? fact(t("class.started"), moment(item.started_at)) : null,
      item.ended_at ? fact(t("class.ended"), moment(item.ended_at)) : null,
      item.started_at ? fact(t("col.duration"), duration(item.duration_s ?? 0)) : null,
      item.state === "live" ? fact(t("col.present"), number(item.present)) : null,
      fact(t("col.attendees"), number(item.attendees)),
      fact(t("col.capacity"), number(item.capacity)),
    ),
    el("div", { class: "part__actions" }, ...controls(item, again, error)),
    error,
  );
}

/**
 * @param {Class} item
 * @param {(changed: Class) => void} again
 * @param {HTMLElement} error
 */
function controls(item, again, error) {
  const act = async (/** @type {() => Promise<void>} */ what) => {
    error.textContent = "";
    try {
      await what();
    } catch (thrown) {
      error.textContent = sentenceOf(thrown);
    }
  };
  const classroom = () => location.assign(`/teach/${item.id}`);
  const start = async () => {
    await api.startClass(item.id);
    classroom();
  };
  const reopen = async () => {
    await api.reopenClass(item.id);
    classroom();
  };
  const end = async () => {
    const words = { title: t("teach.endAsk"), yes: t("teach.endYes"), no: t("teach.endNo") };
    if (await ask(words)) again(await api.endClass(item.id));
  };
  if (item.state === "created") {
    return [button(t("class.start"), () => act(start), { kind: "primary" })];
  }
  if (item.state === "live") {
    return [
      el("a", { class: "button button--primary", href: `/teach/${item.id}` }, t("class.open")),
      button(t("class.end"), () => act(end), { kind: "danger" }),
    ];
  }
  return [
    button(t("class.reopen"), () => act(reopen)),
    el("p", { class: "hint" }, t("class.reopenHint")),
  ];
}

/** @param {Class} item */
function link(item) {
  const said = status();
  const error = el("p", { class: "form__error", role: "alert" });
  const box = el("div", {}, linkBox(item.link));
  const qr = el("div", { class: "qr__place", hidden: true });
  let url = item.link;

  const turnQr = async () => {
    const shown = qr.hidden;
    if (shown) qr.replaceChildren(await qrPicture(url, t("class.qrAlt")));
    show(qr, shown);
    toggle.setAttribute("aria-expanded", String(shown));
    /** @type {HTMLElement} */ (toggle.lastElementChild).textContent = t(
      shown ? "class.qrHide" : "class.qr",
    );
  };
  const toggle = button(t("class.qr"), turnQr, { icon: "qr" });
  toggle.setAttribute("aria-expanded", "false");

  const rotate = async () => {
    const words = {
      title: t("class.rotateAsk"),
      text: t("class.rotateText"),
      yes: t("class.rotateYes"),
      no: t("class.rotateNo"),
    };
    if (!(await ask(words))) return;
    error.textContent = said.textContent = "";
    try {
      url = (await api.rotateLink(item.id)).link;
      box.replaceChildren(linkBox(url));
      if (!qr.hidden) qr.replaceChildren(await qrPicture(url, t("class.qrAlt")));
      said.textContent = t("class.rotated");
    } catch (thrown) {
      error.textContent = sentenceOf(thrown);
    }
  };

  return el(
    "section",
    { class: "panel panel--wide" },
    el("h2", { class: "panel__title" }, t("class.link")),
    el(
      "div",
      { class: "box part" },
      el("p", { class: "hint" }, t("class.linkHint")),
      box,
      el("div", { class: "part__actions" }, toggle, button(t("class.rotate"), rotate)),
      qr,
      said,
      error,
    ),
  );
}

/**
 * @param {Class} item
 * @param {(changed: Class) => void} again
 */
function settings(item, again) {
  const error = el("p", { class: "form__error", role: "alert" });
  const submit = el("button", { type: "submit", class: "button" }, t("class.save"));
  const form = el(
    "form",
    { class: "form form--row" },
    titleField(item.title),
    capacityField(item.capacity),
    submit,
    error,
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    submit.disabled = true;
    error.textContent = "";
    try {
      again(await api.changeClass(item.id, classFields(form)));
    } catch (thrown) {
      error.textContent = sentenceOf(thrown);
      submit.disabled = false;
    }
  });
  return el(
    "section",
    { class: "panel panel--wide" },
    el("h2", { class: "panel__title" }, t("class.settings")),
    form,
  );
}

void open();
