/** Own classes of a teacher, and the classes that anybody attended. */

import { attended, createClass, me, ownClasses } from "../core/api.js";
import { LecternError, codeOf } from "../core/errors.js";
import { duration, sentence, t } from "../core/strings.js";
import { accountPanel } from "./account.js";
import { el } from "./dom.js";
import { account, chip, frame, notice } from "./frame.js";
import { copyButton } from "./link_box.js";
import { field } from "./sign_in.js";

/** @typedef {import("../core/api.js").Class} Class */
/** @typedef {import("../core/api.js").Attended} Attended */
/** @typedef {import("../core/api.js").User} User */

const CAPACITY_DEFAULT = 100;
const CAPACITY_MAX = 1_000_000;
const TITLE_CHARACTERS_MAX = 200;

async function open() {
  let user;
  try {
    user = await me();
  } catch (error) {
    const title = t("error.title");
    frame({ title, main: [notice({ title, text: sentence(codeOf(error)), tone: "bad" })] });
    return;
  }
  if (user === null) {
    location.replace("/");
    return;
  }
  frame({
    title: t("dash.title"),
    bar: [account(user)],
    main: [user.role === "teacher" ? teaching() : null, attending(), accountPanel(user)],
  });
}

function teaching() {
  const list = el("ul", { class: "rows" });
  const section = el(
    "section",
    { class: "panel" },
    el("h1", { class: "panel__title" }, t("dash.teach")),
    creation((made) => location.assign(`/teach/${made.id}`)),
    list,
  );
  void fill(list, ownClasses, classRow, t("dash.none"));
  return section;
}

function attending() {
  const list = el("ul", { class: "rows" });
  const section = el(
    "section",
    { class: "panel" },
    el("h2", { class: "panel__title" }, t("dash.attended")),
    list,
  );
  void fill(list, attended, attendedRow, t("dash.noneAttended"));
  return section;
}

/**
 * @template T
 * @param {HTMLUListElement} list
 * @param {() => Promise<{items: T[]}>} ask
 * @param {(item: T) => HTMLElement} row
 * @param {string} none
 */
async function fill(list, ask, row, none) {
  try {
    const { items } = await ask();
    list.replaceChildren(...items.map(row));
    if (items.length === 0) list.append(el("li", { class: "rows__none" }, none));
  } catch (error) {
    list.replaceChildren(el("li", { class: "rows__none" }, sentence(codeOf(error))));
  }
}

/** @param {(made: Class) => void} onCreated */
function creation(onCreated) {
  const error = el("p", { class: "form__error", role: "alert" });
  const submit = el("button", { type: "submit", class: "button button--primary" }, t("dash.create"));
  const form = el(
    "form",
    { class: "form form--row" },
    field("title", t("dash.newTitle"), {
      placeholder: t("dash.newTitleHint"),
      maxLength: TITLE_CHARACTERS_MAX,
      autocomplete: "off",
    }),
    field("capacity", t("dash.capacity"), {
      type: "number",
      min: "1",
      max: String(CAPACITY_MAX),
      value: String(CAPACITY_DEFAULT),
    }),
    submit,
    error,
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const data = new FormData(form);
    submit.disabled = true;
    try {
      const title = String(data.get("title")).trim();
      onCreated(await createClass({ title, capacity: Number(data.get("capacity")) }));
    } catch (thrown) {
      const detail = thrown instanceof LecternError ? thrown.detail : "";
      error.textContent = sentence(codeOf(thrown), detail);
    } finally {
      submit.disabled = false;
    }
  });
  return form;
}

/** @param {Class} item */
function classRow(item) {
  const facts = [
    when(item.started_at ?? item.created_at),
    item.state === "live" ? t("dash.present", { present: item.present }) : null,
    item.state === "created" ? null : t("dash.attendees", { attendees: item.attendees }),
    t("dash.places", { capacity: item.capacity }),
    item.duration_s ? duration(item.duration_s) : null,
  ];
  return el(
    "li",
    { class: "row" },
    el(
      "div",
      { class: "row__what" },
      el("a", { class: "row__title", href: `/teach/${item.id}`, dir: "auto" }, item.title),
      el("p", { class: "row__facts" }, facts.filter(Boolean).join(" · ")),
    ),
    chip(item.state),
    item.state === "ended" ? null : copyButton(item.link),
    el("a", { class: "button", href: `/teach/${item.id}` }, t("dash.open")),
  );
}

/** @param {Attended} item */
function attendedRow(item) {
  const facts = [
    t("dash.by", { teacher: item.teacher_name }),
    when(item.joined_at),
    item.duration_s ? duration(item.duration_s) : null,
  ];
  return el(
    "li",
    { class: "row" },
    el(
      "div",
      { class: "row__what" },
      el("span", { class: "row__title", dir: "auto" }, item.title),
      el("p", { class: "row__facts" }, facts.filter(Boolean).join(" · ")),
    ),
  );
}

/** @param {string} time RFC 3339 */
function when(time) {
  return new Date(time).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
}

void open();
