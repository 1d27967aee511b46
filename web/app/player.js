/** The live part of the student's page: picture, two sounds, and what the connection is doing. */

import { countOf, isUnsupported, slotsOf, teacherOf } from "../core/live.js";
import { Quality } from "../core/quality.js";
import { Reports } from "../core/reports.js";
import { sharePausedOf } from "../core/share.js";
import { counted, t } from "../core/strings.js";
import { button, el, icon, show } from "./dom.js";
import { Facts } from "./facts.js";
import { Side } from "./side.js";
import { Tools } from "./tools.js";

/** @typedef {import("../core/api.js").Link} Link */

const AWAY_MS = 1500;
const LOOK_MS = 2000;

/** Fires `closed` {reason, error} when the session has ended for good. */
export class Player extends EventTarget {
  #viewer;
  #side;
  #stage;
  #tools;
  #video = el("video", {
    class: "stage__video",
    // Sound has elements of its own: an audio inside a video's element is silent until the first
    // picture, and a teacher talks before sharing.
    muted: true,
    autoplay: true,
    playsInline: true,
    "aria-label": t("watch.screen"),
  });
  #sounds = {
    mic: el("audio", { autoplay: true, "data-slot": "mic" }),
    screen_audio: el("audio", { autoplay: true, "data-slot": "screen_audio" }),
  };
  /** The last picture, kept in sight while a new connection has none yet. */
  #still = el("canvas", { class: "stage__still", "aria-hidden": "true" });
  #empty = el(
    "div",
    { class: "stage__empty" },
    el("p", { class: "stage__title" }, t("watch.noPicture")),
    el("p", { class: "stage__hint" }, t("watch.noPictureHint")),
  );
  #joining = el(
    "div",
    { class: "stage__empty" },
    el("div", { class: "spinner", "aria-hidden": "true" }),
    el("p", { class: "stage__title" }, t("watch.joining")),
  );
  #unmute = el(
    "div",
    { class: "stage__unmute" },
    button(t("watch.unmute"), () => void this.#playSounds(), { kind: "primary", icon: "sound" }),
    el("p", { class: "stage__hint" }, t("watch.unmuteHint")),
  );
  #banner = el("p", { class: "stage__banner", role: "status" });
  #paused = el("p", { class: "stage__badge", role: "status" });
  #line = el("p", { class: "stage__badge", role: "status" });
  #away = el("p", { class: "stage__badge stage__badge--away", role: "status" }, t("watch.teacherAway"));
  #wasHere = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #awayTimer;
  #unsupported = el(
    "div",
    { class: "stage__empty stage__empty--over", role: "status" },
    el("p", { class: "stage__title" }, t("watch.unsupported")),
    el("p", { class: "stage__hint" }, t("watch.unsupportedHint")),
  );
  #pictured = false;
  #flows = false;
  #decodes = true;
  #sharePaused = false;
  #quality = new Quality();
  #reports = new Reports(() => this.#quality);
  #askedMs;
  /** Of the greeting: a picture that came later was not waited for by the network. @type {boolean | null} */
  #flowedAtFirst = null;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #looking;

  count = el("p", { class: "count" });

  /**
   * @param {Link} link
   * @param {import("../core/whep.js").Viewer} viewer that is aimed at it
   * @param {{token: string, askedMs: number}} how askedMs: when the class was asked for, on the page's clock
   */
  constructor(link, viewer, { token, askedMs }) {
    super();
    this.#viewer = viewer;
    this.#askedMs = askedMs;
    this.facts = new Facts(link, token);
    const overlays = [this.#still, this.#empty, this.#unsupported, this.#unmute, this.#banner];
    for (const overlay of [...overlays, this.#paused, this.#away, this.#line]) {
      show(overlay, false);
    }
    this.#side = new Side((message) => this.#viewer.tell(message));
    const view = el("div", { class: "stage__view" }, this.#video, this.#still);
    this.#stage = el(
      "div",
      { class: "stage stage--watch" },
      view,
      this.#joining,
      this.#empty,
      this.#unsupported,
      this.#unmute,
      el("div", { class: "stage__badges" }, this.#paused, this.#away, this.#line),
      this.#banner,
      this.#sounds.mic,
      this.#sounds.screen_audio,
    );
    this.#tools = new Tools(this.#stage, this.#video, view, this.#sounds);
    this.#stage.append(this.#tools.element);
    this.element = el("div", { class: "classroom" }, this.#stage, this.#side.element);
    this.#showCount(link.present);
  }

  async open() {
    on(this.#viewer, "state", (detail) => this.#onState(detail));
    on(this.#viewer, "media", (detail) => this.#onMedia(detail));
    on(this.#viewer, "message", (message) => this.#onMessage(message));
    on(this.#viewer, "blocked", ({ loopbackOnly }) => this.#onBlocked(loopbackOnly));
    addEventListener("pagehide", this.#onPageHide);
    addEventListener("online", this.#onOnline);
    this.#tools.open();
    this.facts.open();
    this.#looking = setInterval(() => void this.#look(), LOOK_MS);
    await this.#viewer.open();
  }

  /** @param {"left" | "pagehide"} reason */
  close(reason) {
    this.#viewer.leave(reason);
  }

  /** @param {{slot: import("../core/whip.js").Slot, stream: MediaStream}} media */
  #onMedia({ slot, stream }) {
    if (slot !== "video") {
      this.#sounds[slot].srcObject = stream;
      void this.#playSounds();
      return;
    }
    this.#keepStill();
    this.#video.srcObject = stream;
    // Only a frame proves a picture; a track is there from the answer on.
    this.#video.requestVideoFrameCallback(() => {
      if (!this.#pictured) this.#noteFirstPicture();
      this.#pictured = true;
      show(this.#joining, false);
      this.#showWhy();
    });
  }

  /** @param {Record<string, any>} message */
  #onMessage(message) {
    this.#side.take(message);
    const teacher = teacherOf(message);
    if (teacher !== null) this.#noteTeacher(teacher);
    const count = countOf(message);
    if (count !== null) this.#showCount(count);
    const slots = slotsOf(message);
    if (slots !== null) this.#flows = slots.video;
    if (message.type === "hello") this.#flowedAtFirst ??= this.#flows;
    this.#sharePaused = sharePausedOf(message) ?? this.#sharePaused;
    const unsupported = isUnsupported(message);
    if (unsupported !== null) this.#decodes = !unsupported;
    this.#showWhy();
  }

  /** Say why there is no picture, where there is none. */
  #showWhy() {
    const unsupported = this.#flows && !this.#decodes;
    const connected = this.#stage.dataset.state === "connected";
    show(this.#unsupported, unsupported);
    show(this.#empty, connected && !unsupported && !this.#pictured);
    // The last picture stays in sight while the teacher shares nothing.
    show(this.#paused, this.#pictured && (!this.#flows || this.#sharePaused));
    const said = t(this.#sharePaused ? "watch.sharePaused" : "watch.paused");
    if (this.#paused.textContent !== said) this.#paused.textContent = said;
    const [title, hint] = /** @type {HTMLElement[]} */ ([...this.#empty.children]);
    title.textContent = t(this.#sharePaused ? "watch.sharePaused" : "watch.noPicture");
    hint.textContent = t(this.#sharePaused ? "watch.sharePausedHint" : "watch.noPictureHint");
  }

  /** It was waited for only where the teacher was showing something, and while somebody looked. */
  #noteFirstPicture() {
    const hidden = performance
      .getEntriesByType("visibility-state")
      .some(({ name, startTime }) => name === "hidden" && startTime >= this.#askedMs);
    if (this.#flowedAtFirst === false || hidden) return;
    this.#reports.firstFrame(performance.now() - this.#askedMs);
  }

  /** Judge the line, and say so beside the picture where it is bad. */
  async #look() {
    if (this.#viewer.state !== "connected") {
      this.#quality.forget();
      return;
    }
    const report = await this.#viewer.connection?.getStats();
    const reading = report ? this.#quality.note(report) : null;
    if (reading === null) return;
    const said = this.facts.showLine(reading);
    if (this.#line.textContent !== said) this.#line.textContent = said;
    show(this.#line, said !== "");
  }

  /** Say that the teacher is away, if that lasts: a reload takes a second.
   *  @param {boolean} here */
  #noteTeacher(here) {
    clearTimeout(this.#awayTimer);
    this.#wasHere ||= here;
    show(this.#away, false);
    if (here || !this.#wasHere) return;
    this.#awayTimer = setTimeout(() => show(this.#away, true), AWAY_MS);
  }

  /** Draw the picture in sight over the element that may lose it, until the element has a new one. */
  #keepStill() {
    const { videoWidth: width, videoHeight: height } = this.#video;
    if (!this.#pictured || width === 0 || !this.#still.hidden) return;
    Object.assign(this.#still, { width, height });
    this.#still.getContext("2d")?.drawImage(this.#video, 0, 0);
    show(this.#still, true);
    this.#video.requestVideoFrameCallback(() => show(this.#still, false));
  }

  /** Play both sounds; a browser that wants a click first gets a button to click on. */
  async #playSounds() {
    const played = await Promise.allSettled(
      Object.values(this.#sounds)
        .filter((sound) => sound.srcObject !== null)
        .map((sound) => sound.play()),
    );
    const refused = played.some(
      (one) => one.status === "rejected" && one.reason?.name === "NotAllowedError",
    );
    show(this.#unmute, refused);
  }

  /** @param {{state: import("../core/session.js").State, reason: string, error: unknown}} change */
  #onState({ state, reason, error }) {
    this.#stage.dataset.state = state;
    if (state === "connected") {
      this.#reports.open();
      show(this.#joining, false);
      this.#showWhy();
      show(this.#banner, false);
    } else if (state === "reconnecting") {
      show(this.#joining, false);
      this.#quality.forget();
      show(this.#line, false);
      this.#say(t("watch.reconnecting"));
      this.#keepStill();
    } else if (state === "closed") {
      this.#side.close();
      this.#tools.close();
      this.facts.close();
      clearInterval(this.#looking);
      this.#reports.close({ closing: reason === "pagehide" || reason === "left" });
      removeEventListener("pagehide", this.#onPageHide);
      removeEventListener("online", this.#onOnline);
      this.dispatchEvent(new CustomEvent("closed", { detail: { reason, error } }));
    }
  }

  /** @param {boolean} loopbackOnly */
  #onBlocked(loopbackOnly) {
    const firefox = navigator.userAgent.includes("Firefox/");
    this.#say(t(loopbackOnly && firefox ? "watch.firefoxLoopback" : "watch.blocked"));
  }

  /** @param {string} text */
  #say(text) {
    // What was said about the reason is worth more than that it goes on trying.
    const blocked = [t("watch.firefoxLoopback"), t("watch.blocked")];
    const said = this.#banner.textContent ?? "";
    if (!this.#banner.hidden && blocked.includes(said) && !blocked.includes(text)) return;
    this.#banner.textContent = text;
    show(this.#banner, true);
  }

  /** @param {number} count */
  #showCount(count) {
    this.count.replaceChildren(icon("people"), counted("watch.count", count));
    this.facts.showCount(count);
  }

  #onPageHide = () => this.close("pagehide");
  #onOnline = () => this.#viewer.hurry();
}

/**
 * @param {EventTarget} target
 * @param {string} type
 * @param {(detail: any) => void} act
 */
function on(target, type, act) {
  target.addEventListener(type, (event) => act(/** @type {CustomEvent} */ (event).detail));
}
