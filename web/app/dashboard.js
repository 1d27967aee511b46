/** Own classes of a teacher, and the classes that anybody attended. */

import { attended, createClass, me, ownClasses, startClass } from "../core/api.js";
import { codeOf } from "../core/errors.js";
import { duration, moment, number, sentence, t } from "../core/strings.js";
import { capacityField, classFields, titleField } from "./class_form.js";
import { button, el } from "./dom.js";
import { account, chip, frame, notice } from "./frame.js";
import { copyButton } from "./link_box.js";
import { sentenceOf } from "./parts.js";
import { Table } from "./table.js";

/** @typedef {import("../core/api.js").Class} Class */
/** @typedef {import("../core/api.js").Attended} Attended */
/** @typedef {import("../core/api.js").User} User */

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
    main: [
      user.active_class ? running(user.active_class) : null,
      user.role === "teacher" ? teaching() : null,
      attending(user),
    ],
    foot: true,
  });
}

/** @param {NonNullable<User["active_class"]>} item */
function running(item) {
  const text = el("p", { class: "callout__text", dir: "auto" }, t("dash.inClass", { title: item.title }));
  // A student's way back is the link, which only the student has.
  const back = item.is_host
    ? el("a", { class: "button button--primary", href: `/teach/${item.id}` }, t("class.open"))
    : null;
  return el("section", { class: "callout" }, text, back);
}

function teaching() {
  const error = el("p", { class: "form__error", role: "alert" });
  /** @type {import("./table.js").Column<Class>[]} */
  const columns = [
    { label: t("col.title"), kind: "title", cell: (item) => titleLink(item) },
    { label: t("col.created"), kind: "time", cell: (item) => moment(item.created_at) },
    { label: t("col.state"), cell: (item) => chip(item.state) },
    { label: t("col.present"), kind: "number", cell: (item) => number(item.present) },
    { label: t("col.attendees"), kind: "number", cell: (item) => number(item.attendees) },
    { label: t("col.capacity"), kind: "number", cell: (item) => number(item.capacity) },
    { label: t("col.duration"), kind: "number", cell: (item) => lasted(item) },
    { label: t("col.actions"), kind: "actions", cell: (item) => actions(item, error) },
  ];
  const { table, read } = list(t("dash.teach"), columns, ownClasses, t("dash.none"));
  // Who comes back to the page sees how it stands now.
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") void read();
  });
  return el(
    "section",
    { class: "panel panel--wide" },
    el("h1", { class: "panel__title" }, t("dash.teach")),
    creation((made) => location.assign(`/teach/${made.id}`)),
    error,
    table,
  );
}

/** @param {User} user */
function attending(user) {
  /** @type {import("./table.js").Column<Attended>[]} */
  const columns = [
    { label: t("col.title"), kind: "title", cell: (item) => el("span", { dir: "auto" }, item.title) },
    { label: t("col.teacher"), cell: (item) => el("span", { dir: "auto" }, item.teacher_name) },
    { label: t("col.joined"), kind: "time", cell: (item) => moment(item.joined_at) },
    {
      label: t("col.left"),
      kind: "time",
      cell: (item) => (item.left_at === null ? t("col.stillHere") : moment(item.left_at)),
    },
    { label: t("col.stayed"), kind: "number", cell: (item) => duration(item.duration_s ?? 0) },
    { label: t("col.lasted"), kind: "number", cell: (item) => duration(item.class_duration_s ?? 0) },
    { label: t("col.attendees"), kind: "number", cell: (item) => number(item.attendees) },
  ];
  const { table } = list(t("dash.attended"), columns, attended, t("dash.noneAttended"));
  return el(
    "section",
    { class: "panel panel--wide" },
    el(user.role === "teacher" ? "h2" : "h1", { class: "panel__title" }, t("dash.attended")),
    table,
    user.role === "student" ? el("p", { class: "hint" }, t("dash.teachInstead")) : null,
  );
}

/**
 * A table that reads its first page by itself, and the following ones when asked.
 * @template T
 * @param {string} caption
 * @param {import("./table.js").Column<T>[]} columns
 * @param {(cursor?: string | null) => Promise<import("../core/api.js").Page<T>>} page
 * @param {string} none
 */
function list(caption, columns, page, none) {
  /** @type {T[]} */
  let known = [];
  /** @type {string | null} */
  let next = null;
  const table = new Table({ caption, columns, none, ask: () => take(next) });

  /** @param {string | null} cursor of the page to take; null begins anew */
  async function take(cursor) {
    try {
      const found = await page(cursor);
      known = cursor === null ? found.items : [...known, ...found.items];
      next = found.next;
      table.fill(known, next !== null);
    } catch (error) {
      table.say(sentence(codeOf(error)));
    }
  }

  const read = () => take(null);
  void read();
  return { table: table.element, read };
}

/** @param {(made: Class) => void} onCreated */
function creation(onCreated) {
  const error = el("p", { class: "form__error", role: "alert" });
  const submit = el("button", { type: "submit", class: "button button--primary" }, t("dash.create"));
  const form = el(
    "form",
    { class: "form form--row", "aria-label": t("dash.new") },
    titleField(),
    capacityField(),
    submit,
    error,
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    submit.disabled = true;
    try {
      onCreated(await createClass(classFields(form)));
    } catch (thrown) {
      error.textContent = sentenceOf(thrown);
    } finally {
      submit.disabled = false;
    }
  });
  return form;
}

/** @param {Class} item */
function titleLink(item) {
  return el("a", { class: "table__link", href: `/classes/${item.id}`, dir: "auto" }, item.title);
}

/** @param {Class} item */
function lasted(item) {
  return item.started_at === null ? "–" : duration(item.duration_s ?? 0);
}

/**
 * What one does next with a class, by its state.
 * @param {Class} item
 * @param {HTMLElement} error where it is said what went wrong
 */
function actions(item, error) {
  if (item.state === "ended") {
    return [el("a", { class: "button", href: `/classes/${item.id}` }, t("dash.details"))];
  }
  const first =
    item.state === "live"
      ? el("a", { class: "button button--primary", href: `/teach/${item.id}` }, t("dash.open"))
      : button(t("dash.start"), () => start(item, error), { kind: "primary" });
  return [first, copyButton(item.link)];
}

/**
 * @param {Class} item
 * @param {HTMLElement} error
 */
async function start(item, error) {
  try {
    await startClass(item.id);
    location.assign(`/teach/${item.id}`);
  } catch (thrown) {
    error.textContent = sentenceOf(thrown);
  }
}

void open();
