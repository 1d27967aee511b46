/** The teacher's page of one class: before, while it is live, and after. */

import { attendanceOf, classOf, endClass, me, startClass } from "../core/api.js";
import { LecternError, codeOf } from "../core/errors.js";
import { duration, number, sentence, t } from "../core/strings.js";
import { button, el } from "./dom.js";
import { account, chip, frame, notice, status } from "./frame.js";
import { linkBox } from "./link_box.js";
import { Mic } from "./mic.js";
import { signCard } from "./sign_in.js";
import { Studio } from "./studio.js";
import { peakOf } from "./timeline.js";

/** @typedef {import("../core/api.js").Class} Class */
/** @typedef {import("../core/api.js").User} User */

// A summary reads no more than this: it is fifty requests.
const PEOPLE_MAX = 10_000;

const classId = decodeURIComponent(location.pathname.split("/")[2] ?? "");
const toDashboard = () =>
  el("a", { class: "button", href: "/dashboard" }, t("teach.back"));

async function open() {
  try {
    const user = await me();
    if (user === null) return askToSignIn();
    render(user, await classOf(classId));
  } catch (error) {
    trouble(codeOf(error));
  }
}

function askToSignIn() {
  frame({
    title: t("sign.in"),
    main: [
      el("div", { class: "centre" }, signCard({ role: "teacher", onSigned: () => void open() })),
    ],
  });
}

/** @param {string} code */
function trouble(code) {
  frame({
    title: t("error.title"),
    main: [
      notice({
        title: t("error.title"),
        text: sentence(code),
        tone: "bad",
        actions: [toDashboard()],
      }),
    ],
  });
}

/**
 * @param {User} user
 * @param {Class} item
 */
function render(user, item) {
  if (item.state === "created") before(user, item);
  else if (item.state === "live") live(item, new Mic());
  else after(user, item);
}

/** @param {Class} item */
function titleOf(item) {
  return [
    el("div", { class: "bar__title" }, el("h1", { class: "bar__name", dir: "auto" }, item.title)),
    chip(item.state),
  ];
}

/**
 * @param {User} user
 * @param {Class} item
 */
function before(user, item) {
  const error = el("p", { class: "form__error", role: "alert" });
  const mic = new Mic();
  const said = status();
  mic.addEventListener("say", (event) => {
    const { text, tone } = /** @type {CustomEvent} */ (event).detail;
    said.textContent = text;
    said.dataset.tone = tone;
  });
  const start = button(
    t("teach.start"),
    async () => {
      start.disabled = true;
      try {
        // Who has tried the microphone out and left it on is heard from the start.
        live(await startClass(item.id), mic);
      } catch (thrown) {
        error.textContent = sentence(codeOf(thrown), thrown instanceof LecternError ? thrown.detail : "");
        start.disabled = false;
      }
    },
    { kind: "primary" },
  );
  frame({
    title: item.title,
    bar: [...titleOf(item), account(user)],
    main: [
      el(
        "section",
        { class: "panel panel--narrow" },
        el("h2", { class: "panel__title" }, t("link.label")),
        linkBox(item.link),
        el("p", { class: "hint" }, t("teach.startHint")),
        el("h2", { class: "panel__title" }, t("teach.mic")),
        el("p", { class: "hint" }, t("teach.micHint")),
        mic.element,
        said,
        error,
        start,
      ),
    ],
  });
}

/**
 * @param {Class} item
 * @param {Mic} mic
 */
function live(item, mic) {
  const studio = new Studio(item, mic);
  const dialog = askBeforeEnd(async () => {
    try {
      const ended = await endClass(item.id);
      studio.close("left");
      after(null, ended);
    } catch (error) {
      studio.say(sentence(codeOf(error)), "bad");
    }
  });
  const end = button(t("teach.end"), () => dialog.showModal(), { kind: "danger" });
  frame({
    title: item.title,
    bar: [...titleOf(item), studio.count, end],
    main: [studio.element, dialog],
  });
  studio.addEventListener("closed", (event) => {
    const { reason } = /** @type {CustomEvent} */ (event).detail;
    if (reason === "replaced") takenElsewhere(item);
    else if (reason === "class_ended" || reason === "class_not_live") void open();
    else if (reason !== "left" && reason !== "pagehide") trouble(reason);
  });
  void studio.open();
}

/** @param {() => void} onYes */
function askBeforeEnd(onYes) {
  const dialog = el("dialog", { class: "dialog", "aria-labelledby": "end-ask" });
  const close = () => dialog.close();
  const yes = () => {
    close();
    onYes();
  };
  dialog.append(
    el("h2", { class: "dialog__title", id: "end-ask" }, t("teach.endAsk")),
    el(
      "div",
      { class: "dialog__actions" },
      button(t("teach.endNo"), close),
      button(t("teach.endYes"), yes, { kind: "danger" }),
    ),
  );
  return dialog;
}

/** @param {Class} item */
function takenElsewhere(item) {
  frame({
    title: item.title,
    bar: [...titleOf(item)],
    main: [
      notice({
        title: t("teach.replaced"),
        text: t("teach.replacedHint"),
        actions: [button(t("teach.takeBack"), () => live(item, new Mic()), { kind: "primary" }), toDashboard()],
      }),
    ],
  });
}

/**
 * What became of the class.
 * @param {User | null} user
 * @param {Class} item
 */
function after(user, item) {
  const peak = el("dd", {}, "…");
  const facts = el(
    "dl",
    { class: "facts" },
    fact(t("col.duration"), el("dd", {}, duration(item.duration_s ?? 0))),
    fact(t("col.attendees"), el("dd", {}, number(item.attendees))),
    fact(t("teach.peak"), peak),
  );
  const attendance = el(
    "a",
    { class: "button button--primary", href: `/classes/${item.id}` },
    t("teach.attendance"),
  );
  const end = notice({ title: t("teach.ended"), actions: [attendance, toDashboard()] });
  end.querySelector(".notice__title")?.after(facts);
  frame({ title: item.title, bar: [...titleOf(item), user && account(user)], main: [end] });
  void tellPeak(item, peak);
}

/**
 * @param {string} name
 * @param {HTMLElement} value
 */
const fact = (name, value) => el("div", { class: "fact" }, el("dt", {}, name), value);

/**
 * @param {Class} item that has ended
 * @param {HTMLElement} place
 */
async function tellPeak(item, place) {
  const people = [];
  try {
    /** @type {string | null} */
    let next = null;
    do {
      const page = /** @type {import("../core/api.js").Page<import("../core/api.js").Attendance>} */ (
        await attendanceOf(item.id, next)
      );
      people.push(...page.items);
      next = page.next;
    } while (next !== null && people.length < PEOPLE_MAX);
    const span = {
      from: Date.parse(item.started_at ?? item.created_at),
      to: Date.parse(item.ended_at ?? item.created_at),
    };
    place.textContent = (next === null ? "" : "≥ ") + number(peakOf(people, span));
  } catch {
    // It stands on the page that the button leads to, with more about it.
    place.textContent = "–";
  }
}

void open();
