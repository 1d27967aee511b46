/** The teacher's page of one class: before, while it is live, and after. */

import { classOf, endClass, me, startClass } from "../core/api.js";
import { LecternError, codeOf } from "../core/errors.js";
import { duration, sentence, t } from "../core/strings.js";
import { button, el } from "./dom.js";
import { account, chip, frame, notice } from "./frame.js";
import { linkBox } from "./link_box.js";
import { signCard } from "./sign_in.js";
import { Studio } from "./studio.js";

/** @typedef {import("../core/api.js").Class} Class */
/** @typedef {import("../core/api.js").User} User */

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
  else if (item.state === "live") live(item);
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
  const start = button(
    t("teach.start"),
    async () => {
      start.disabled = true;
      try {
        render(user, await startClass(item.id));
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
        error,
        start,
      ),
    ],
  });
}

/** @param {Class} item */
function live(item) {
  const studio = new Studio(item);
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
        actions: [button(t("teach.takeBack"), () => live(item), { kind: "primary" }), toDashboard()],
      }),
    ],
  });
}

/**
 * @param {User | null} user
 * @param {Class} item
 */
function after(user, item) {
  frame({
    title: item.title,
    bar: [...titleOf(item), user && account(user)],
    main: [
      notice({
        title: t("teach.ended"),
        text: t("teach.endedHint", {
          attendees: item.attendees,
          duration: duration(item.duration_s ?? 0),
        }),
        actions: [toDashboard()],
      }),
    ],
  });
}

void open();
