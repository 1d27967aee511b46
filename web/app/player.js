/**
 * The live part of the student's page that is wanted at once: picture, two sounds, and what the
 * connection is doing. What stands round them (`classroom.js`) is fetched when the picture is there.
 */

import { countOf, isUnsupported, slotsOf, teacherOf } from "../core/live.js";
import { sharePausedOf } from "../core/share.js";
import { counted, t } from "../core/strings.js";
import { button, el, icon, on, show } from "./dom.js";

/** @typedef {import("../core/api.js").Link} Link */

const AWAY_MS = 1500;
// A picture that has not come by now is not waited for: the teacher may share nothing.
const CALM_MS = 700;

/**
 * Fires `pictured` at the first picture, and `closed` {reason, error} when the session has ended for
 * good.
 */
export class Player extends EventTarget {
  #viewer;
  #stage;
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
  #view = el("div", { class: "stage__view" }, this.#video, this.#still);
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
  #flows = false;
  #decodes = true;
  #sharePaused = false;
  #calm = () => {};

  /** When the first picture came, on the page's clock. @type {number | null} */
  picturedMs = null;
  /** What the server said of the class on joining it last. @type {Record<string, any> | null} */
  greeting = null;

  count = el("p", { class: "count" });

  /** Resolves when nothing more urgent than the rest of the page is to be done. @type {Promise<void>} */
  calm = new Promise((resolve) => (this.#calm = resolve));

  /**
   * @param {Link} link
   * @param {import("../core/whep.js").Viewer} viewer that is aimed at it
   */
  constructor(link, viewer) {
    super();
    this.#viewer = viewer;
    const overlays = [this.#still, this.#empty, this.#unsupported, this.#unmute, this.#banner];
    for (const overlay of [...overlays, this.#paused, this.#away, this.#line]) {
      show(overlay, false);
    }
    this.#stage = el(
      "div",
      { class: "stage stage--watch" },
      this.#view,
      this.#joining,
      this.#empty,
      this.#unsupported,
      this.#unmute,
      el("div", { class: "stage__badges" }, this.#paused, this.#away, this.#line),
      this.#banner,
      this.#sounds.mic,
      this.#sounds.screen_audio,
    );
    this.element = el("div", { class: "classroom" }, this.#stage);
    this.#showCount(link.present);
  }

  async open() {
    on(this.#viewer, "state", (detail) => this.#onState(detail));
    on(this.#viewer, "media", (detail) => this.#onMedia(detail));
    on(this.#viewer, "message", (message) => this.#onMessage(message));
    on(this.#viewer, "blocked", ({ loopbackOnly }) => this.#onBlocked(loopbackOnly));
    addEventListener("pagehide", this.#onPageHide);
    addEventListener("online", this.#onOnline);
    await this.#viewer.open();
  }

  /** @param {"left" | "pagehide"} reason */
  close(reason) {
    this.#viewer.leave(reason);
  }

  /** What the picture is made of, for tools that change how it is seen and heard. */
  get parts() {
    return { stage: this.#stage, video: this.#video, view: this.#view, sounds: this.#sounds };
  }

  /**
   * Say beside the picture that the line is bad.
   * @param {string} said empty where it is not
   */
  showLine(said) {
    if (this.#line.textContent !== said) this.#line.textContent = said;
    show(this.#line, said !== "");
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
      if (this.picturedMs === null) {
        this.picturedMs = performance.now();
        this.dispatchEvent(new CustomEvent("pictured"));
        this.#calm();
      }
      show(this.#joining, false);
      this.#showWhy();
    });
  }

  /** @param {Record<string, any>} message */
  #onMessage(message) {
    if (message.type === "hello") this.greeting = message;
    const teacher = teacherOf(message);
    if (teacher !== null) this.#noteTeacher(teacher);
    const count = countOf(message);
    if (count !== null) this.#showCount(count);
    const slots = slotsOf(message);
    if (slots !== null) this.#flows = slots.video;
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
    show(this.#empty, connected && !unsupported && this.picturedMs === null);
    // The last picture stays in sight while the teacher shares nothing.
    show(this.#paused, this.picturedMs !== null && (!this.#flows || this.#sharePaused));
    const said = t(this.#sharePaused ? "watch.sharePaused" : "watch.paused");
    if (this.#paused.textContent !== said) this.#paused.textContent = said;
    const [title, hint] = /** @type {HTMLElement[]} */ ([...this.#empty.children]);
    title.textContent = t(this.#sharePaused ? "watch.sharePaused" : "watch.noPicture");
    hint.textContent = t(this.#sharePaused ? "watch.sharePausedHint" : "watch.noPictureHint");
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
    if (this.picturedMs === null || width === 0 || !this.#still.hidden) return;
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
      setTimeout(this.#calm, CALM_MS);
      show(this.#joining, false);
      this.#showWhy();
      show(this.#banner, false);
    } else if (state === "reconnecting") {
      show(this.#joining, false);
      this.showLine("");
      this.#say(t("watch.reconnecting"));
      this.#keepStill();
    } else if (state === "closed") {
      this.#calm();
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
  }

  #onPageHide = () => this.close("pagehide");
  #onOnline = () => this.#viewer.hurry();
}
