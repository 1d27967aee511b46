/** The comments of a class beside its picture: read, write, and for the teacher, pause. */

import { Conversation } from "../core/conversation.js";
import { sentence, t } from "../core/strings.js";
import { button, el, show } from "./dom.js";
import { status } from "./frame.js";

/** @typedef {import("../core/conversation.js").Comment} Comment */

const SHOWN_MAX = 500;
// Within this of the end the reader follows along; further up they are reading.
const FOLLOW_PX = 48;

/** Fires `unread` {count}: comments that came while their place was out of sight, or scrolled away. */
export class Chat extends EventTarget {
  #conversation = new Conversation();
  #send;
  #unread = 0;
  #following = true;
  #visible = false;

  // A log is announced politely, addition by addition.
  #entries = el("ol", { class: "chat__entries" });
  #list = el(
    "div",
    { class: "chat__list", role: "log", "aria-label": t("chat.title"), tabIndex: 0 },
    this.#entries,
  );
  #empty = el("p", { class: "chat__empty" }, t("chat.none"));
  #newer = button("", () => this.#toEnd(), { kind: "primary" });
  #text = el("textarea", {
    class: "field__input chat__text",
    rows: 1,
    placeholder: t("chat.placeholder"),
    "aria-label": t("chat.placeholder"),
    onkeydown: (/** @type {KeyboardEvent} */ event) => this.#onKey(event),
  });
  #submit = button(t("chat.send"), () => this.#say(), { kind: "primary" });
  #message = status();
  #pause = button(t("chat.pause"), () => this.#togglePause(), { kind: "quiet" });

  /**
   * @param {(message: Record<string, unknown>) => boolean} send false where nothing can be sent now
   * @param {{moderates?: boolean}} [options] moderates: may pause
   */
  constructor(send, { moderates = false } = {}) {
    super();
    this.#send = send;
    this.moderates = moderates;
    this.#newer.classList.add("chat__newer");
    this.#text.maxLength = this.#conversation.charsMax;
    show(this.#newer, false);
    show(this.#pause, moderates);
    this.element = el(
      "section",
      { class: "chat" },
      el("div", { class: "chat__body" }, this.#empty, this.#list, this.#newer),
      this.#message,
      el("div", { class: "chat__form" }, this.#text, this.#submit),
      this.#pause,
    );
    this.#list.addEventListener("scroll", () => {
      this.#following = this.#follows();
      this.#read();
    });
    // The list is resized by a keyboard that opens, by a growing text, by a tab that is chosen.
    new ResizeObserver(() => this.#following && this.#toEnd()).observe(this.#list);
    new IntersectionObserver(([...seen]) => {
      this.#visible = seen.at(-1)?.isIntersecting === true;
      this.#read();
    }).observe(this.#list);
    document.addEventListener("visibilitychange", () => this.#read());
    this.#listen();
  }

  /** @param {Record<string, any>} message of the data channel */
  take(message) {
    this.#conversation.take(message);
  }

  /** The connection is over: give back what was not answered. */
  interrupt() {
    this.#conversation.interrupt();
  }

  #listen() {
    /** @type {(type: string, act: (detail: any) => void) => void} */
    const on = (type, act) =>
      this.#conversation.addEventListener(type, (event) =>
        act(/** @type {CustomEvent} */ (event).detail),
      );
    on("comments", ({ items }) => this.#show(items));
    on("missed", ({ count }) => this.#append([el("li", { class: "chat__gap" }, t("chat.missed", { count }))]));
    on("commenting", () => this.#showPaused());
    on("accepted", () => this.#tell(""));
    on("refused", ({ code, text }) => {
      if (this.#text.value === "") this.#text.value = text;
      this.#tell(sentence(`comment_${code}`));
    });
  }

  /** @param {Comment[]} items */
  #show(items) {
    show(this.#empty, false);
    this.#append(items.map(entry));
  }

  /** @param {HTMLElement[]} entries */
  #append(entries) {
    this.#entries.append(...entries);
    while (this.#entries.childElementCount > SHOWN_MAX) this.#entries.firstElementChild?.remove();
    if (this.#following) this.#toEnd();
    if (!this.#isRead) this.#setUnread(this.#unread + entries.length);
  }

  get #isRead() {
    return this.#following && this.#visible && !this.element.hidden && !document.hidden;
  }

  #follows() {
    const { scrollHeight, scrollTop, clientHeight } = this.#list;
    return scrollHeight - scrollTop - clientHeight < FOLLOW_PX;
  }

  #toEnd() {
    this.#following = true;
    this.#list.scrollTop = this.#list.scrollHeight;
    this.#read();
  }

  #read() {
    if (this.#unread > 0 && this.#isRead) this.#setUnread(0);
  }

  /** @param {number} count */
  #setUnread(count) {
    this.#unread = count;
    /** @type {HTMLElement} */ (this.#newer.lastElementChild).textContent = t("chat.newer", { count });
    show(this.#newer, count > 0 && !this.#following);
    this.dispatchEvent(new CustomEvent("unread", { detail: { count } }));
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    // While an input method composes a word, Enter belongs to it.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    this.#say();
  }

  #say() {
    const text = this.#text.value.trim();
    if (text === "") return;
    const message = this.#conversation.say(text);
    if (message === null) this.#tell(sentence("comment_too_fast"));
    else if (this.#send(message)) this.#text.value = "";
    else this.#conversation.interrupt();
  }

  #togglePause() {
    this.#send({ type: "pause_comments", paused: !this.#conversation.paused });
  }

  #showPaused() {
    const { paused } = this.#conversation;
    const closed = paused && !this.moderates;
    this.#text.disabled = closed;
    this.#submit.disabled = closed;
    this.#text.maxLength = this.#conversation.charsMax;
    /** @type {HTMLElement} */ (this.#pause.lastElementChild).textContent = t(
      paused ? "chat.resume" : "chat.pause",
    );
    this.#tell(paused ? t(this.moderates ? "chat.pausedByYou" : "chat.paused") : "");
  }

  /** @param {string} text */
  #tell(text) {
    this.#message.textContent = text;
  }
}

/** @param {Comment} comment */
function entry({ at, from, text }) {
  const when = new Date(at);
  const time = when.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  const teacher = from.role === "publisher";
  return el(
    "li",
    { class: teacher ? "chat__entry chat__entry--teacher" : "chat__entry" },
    el(
      "p",
      { class: "chat__by" },
      el("bdi", { class: "chat__name" }, from.name),
      teacher ? el("span", { class: "chat__role" }, t("chat.teacher")) : null,
      el("time", { class: "chat__time", dateTime: when.toISOString() }, time),
    ),
    el("p", { class: "chat__said", dir: "auto" }, text),
  );
}
