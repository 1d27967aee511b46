/** The live part of the teacher's page: share, pause, preview, and what the connection is doing. */

import { captureScreen, silenceOf } from "../core/capture.js";
import { codeOf } from "../core/errors.js";
import { countOf } from "../core/live.js";
import { Encoding, SendingMeter } from "../core/sending.js";
import { sharePausedOf } from "../core/share.js";
import { counted, sentence, t } from "../core/strings.js";
import { Publisher, sendableCodecs } from "../core/whip.js";
import { button, el, icon, show } from "./dom.js";
import { status } from "./frame.js";
import { linkBox } from "./link_box.js";
import { Side } from "./side.js";

/** @typedef {import("../core/api.js").Class} Class */

// Of this browser, not of a class: it is about what the computer can do.
const FORMAT_MEMORY = "lectern.format";
const CONTENT_MEMORY = "lectern.content";
const GLANCE_MS = 2000;

/** Fires `closed` {reason} when the session has ended for good. */
export class Studio extends EventTarget {
  #publisher;
  #side;
  #mic;
  /** @type {{video: MediaStreamTrack, audio: MediaStreamTrack | null} | null} */
  #share = null;
  /** The share is kept back: students keep the last picture, the teacher chose what they see next. */
  #paused = false;
  #memory;
  /** What was on before this page was loaded. */
  #was;

  #preview = el("video", {
    class: "stage__video",
    muted: true,
    autoplay: true,
    playsInline: true,
    "aria-label": t("teach.preview"),
  });
  #empty = el(
    "div",
    { class: "stage__empty" },
    el("p", { class: "stage__title" }, t("teach.notSharing")),
    el("p", { class: "stage__hint" }, t("teach.notSharingHint")),
  );
  #shared = el("p", { class: "stage__badge" });
  #connection = el("p", { class: "connection", role: "status", "data-state": "connecting" });
  #glance = el("p", { class: "studio__glance" });
  #sending = new SendingMeter();
  #encoding = new Encoding();
  /** @type {import("../core/whip.js").Content} */
  #content = "text";
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #glancing;
  #message = status();
  #shareButton = button(t("teach.share"), () => void this.share(), {
    kind: "primary",
    icon: "screen",
  });
  #unshareButton = button(t("teach.unshare"), () => void this.unshare(), { icon: "stop" });
  #pauseButton = button(t("teach.pause"), () => void this.#togglePause(), { icon: "pause" });

  #format = el("select", {
    class: "field__input",
    name: "format",
    onchange: () => void this.#setFormat(),
  });

  #kind = el(
    "select",
    { class: "field__input", name: "content", onchange: () => void this.#setKind() },
    .../** @type {const} */ (["auto", "text", "motion"]).map((value) =>
      el("option", { value }, t(`teach.content.${value}`)),
    ),
  );

  count = el("p", { class: "count" });

  /**
   * @param {Class} item
   * @param {import("./mic.js").Mic} mic that may be on already; it is let go of with this
   */
  constructor(item, mic) {
    super();
    this.#mic = mic;
    this.#publisher = new Publisher(item.id);
    this.#side = new Side((message) => this.#publisher.tell(message), { moderates: true });
    // A reload keeps what the teacher had switched on, as far as the browser allows it.
    this.#memory = `lectern.on.${item.id}`;
    this.#was = new Set((sessionStorage.getItem(this.#memory) ?? "").split(" "));
    this.element = el(
      "div",
      { class: "studio" },
      el(
        "div",
        { class: "studio__main" },
        el("div", { class: "stage stage--preview" }, this.#preview, this.#empty, this.#shared),
        el(
          "div",
          { class: "studio__controls" },
          this.#shareButton,
          this.#pauseButton,
          this.#unshareButton,
          this.#mic.element,
          el("div", { class: "studio__state" }, this.#connection, this.#glance),
        ),
        this.#message,
        el(
          "div",
          { class: "studio__more" },
          el(
            "details",
            { name: "studio" },
            el("summary", {}, t("link.label")),
            el("div", { class: "studio__drawer" }, linkBox(item.link)),
          ),
          this.#more(),
        ),
      ),
      this.#side.element,
    );
    this.#showCount(item.present);
    this.#showShare();
  }

  async open() {
    this.#publisher.addEventListener("state", (event) =>
      this.#onState(/** @type {CustomEvent} */ (event).detail),
    );
    this.#publisher.addEventListener("message", (event) =>
      this.#onMessage(/** @type {CustomEvent} */ (event).detail),
    );
    addEventListener("pagehide", this.#onPageHide);
    addEventListener("pageshow", this.#onPageShow);
    addEventListener("online", this.#onOnline);
    addEventListener("beforeunload", this.#onBeforeUnload);
    this.#glancing = setInterval(() => void this.#look(), GLANCE_MS);
    await this.#publisher.setCodec(this.#codec);
    await this.#setContent("text");
    this.#mic.addEventListener("track", (event) => {
      void this.#publisher.setTrack("mic", /** @type {CustomEvent} */ (event).detail.track);
      this.#remember();
    });
    this.#mic.addEventListener("say", (event) => {
      const { text, tone } = /** @type {CustomEvent} */ (event).detail;
      this.say(text, tone);
    });
    // The mic first: it needs no click where it was allowed before, and it is heard at once.
    if (this.#mic.track !== null) await this.#publisher.setTrack("mic", this.#mic.track);
    else if (this.#was.has("mic")) await this.#mic.turnOn({ asked: false });
    if (this.#was.has("share")) this.say(t("teach.shareAgain"));
    await this.#publisher.open();
  }

  /** @param {"left" | "pagehide"} reason */
  close(reason) {
    // Nothing is sent any more when the tracks stop: see `Publisher.closesFirst`.
    this.#publisher.leave(reason);
    this.#release();
  }

  /**
   * @param {string} text
   * @param {"calm" | "bad"} [tone]
   */
  say(text, tone = "calm") {
    this.#message.textContent = text;
    this.#message.dataset.tone = tone;
  }

  /** Share something, or something else: the old share goes on until the new one is chosen. */
  async share() {
    let chosen;
    try {
      chosen = await captureScreen();
    } catch (error) {
      // Closing the chooser is a decision, not an error; but a browser that may not share says the
      // same, so the sentence is shown either way.
      this.say(sentence(codeOf(error)), "bad");
      return;
    }
    const before = this.#share;
    this.#share = chosen;
    // What is chosen now is meant to be seen.
    this.#setPaused(false);
    const { video, audio } = chosen;
    // The browser's own bar, or the closing of the shared tab, ends the tracks.
    video.addEventListener("ended", () => {
      if (this.#share?.video === video) void this.unshare();
    });
    audio?.addEventListener("ended", () => {
      if (this.#share === null || this.#share.audio !== audio) return;
      this.#share.audio = null;
      this.#showShare();
      void this.#publisher.setTrack("screen_audio", null);
    });
    await this.#publisher.setTrack("video", video);
    await this.#publisher.setTrack("screen_audio", audio);
    stop(before?.video, before?.audio);
    this.say(audio === null ? t(`teach.silent.${silenceOf(video)}`) : "");
    this.#showShare();
  }

  async unshare() {
    const share = this.#share;
    this.#share = null;
    this.#setPaused(false);
    this.say(t("teach.shareEnded"));
    this.#showShare();
    await this.#publisher.setTrack("video", null);
    await this.#publisher.setTrack("screen_audio", null);
    stop(share?.video, share?.audio);
  }

  /** Picture and sound stop, the choice of the screen stays; the last picture stays with students. */
  async #togglePause() {
    const share = this.#share;
    if (share === null) return;
    this.#setPaused(!this.#paused);
    void this.#look();
    this.say(this.#paused ? t("teach.pausedHint") : "");
    this.#showShare();
    await this.#publisher.setTrack("video", this.#paused ? null : share.video);
    await this.#publisher.setTrack("screen_audio", this.#paused ? null : share.audio);
  }

  /** @param {boolean} paused */
  #setPaused(paused) {
    if (this.#paused === paused) return;
    this.#paused = paused;
    this.#publisher.tell({ type: "pause_share", paused });
  }

  /** What most teachers never need, out of their way. */
  #more() {
    const codecs = sendableCodecs();
    for (const name of codecs) {
      this.#format.append(el("option", { value: name }, t(`teach.format${name}`)));
    }
    const chosen = localStorage.getItem(FORMAT_MEMORY) ?? "";
    if (codecs.some((name) => name === chosen)) this.#format.value = chosen;
    const kind = localStorage.getItem(CONTENT_MEMORY) ?? "auto";
    if (["auto", "text", "motion"].includes(kind)) this.#kind.value = kind;
    return el(
      "details",
      { name: "studio" },
      el("summary", {}, t("teach.more")),
      el(
        "div",
        { class: "studio__drawer" },
        el(
          "label",
          { class: "field" },
          el("span", { class: "field__label" }, t("teach.format")),
          this.#format,
          el("span", { class: "field__hint" }, t("teach.formatHint")),
        ),
        el(
          "label",
          { class: "field" },
          el("span", { class: "field__label" }, t("teach.content")),
          this.#kind,
          el("span", { class: "field__hint" }, t("teach.contentHint")),
        ),
      ),
    );
  }

  get #codec() {
    return /** @type {import("../core/whip.js").VideoCodec} */ (this.#format.value || "VP8");
  }

  async #setFormat() {
    localStorage.setItem(FORMAT_MEMORY, this.#codec);
    const changed = await this.#publisher.setCodec(this.#codec);
    this.say(changed ? "" : t("teach.formatStays"));
  }

  async #setKind() {
    localStorage.setItem(CONTENT_MEMORY, this.#kind.value);
    await this.#setContent(this.#encoding.content);
  }

  /**
   * Send for what is shown, unless the teacher has said what it is.
   * @param {import("../core/whip.js").Content} seen
   */
  async #setContent(seen) {
    const said = this.#kind.value;
    const content = said === "text" || said === "motion" ? said : seen;
    if (content === this.#content) return;
    this.#content = content;
    await this.#publisher.setContent(content);
  }

  /**
   * Act on how encoding goes: another codec where this one is too much for the computer.
   * @param {RTCStatsReport} report
   */
  async #tend(report) {
    const { keepsUp, content } = this.#encoding.note(report);
    await this.#setContent(content);
    if (keepsUp || this.#format.value === "VP8" || this.#format.value === "") return;
    // Not remembered: the next class may be on a computer that does nothing else.
    this.#format.value = "VP8";
    this.#encoding.forgive();
    if (await this.#publisher.setCodec("VP8")) this.say(t("teach.formatEased"));
  }

  #showShare() {
    const share = this.#share;
    this.#preview.srcObject = share && new MediaStream([share.video]);
    show(this.#preview, share !== null);
    show(this.#empty, share === null);
    show(this.#shared, share !== null);
    show(this.#unshareButton, share !== null);
    show(this.#pauseButton, share !== null);
    relabel(this.#pauseButton, t(this.#paused ? "teach.resume" : "teach.pause"), this.#paused ? "play" : "pause");
    this.#shared.dataset.state = this.#paused ? "paused" : "shown";
    this.#shared.textContent = this.#paused
      ? t("teach.paused")
      : share?.audio == null
        ? t("teach.sharingSilent")
        : t("teach.sharingSound");
    relabel(this.#shareButton, share === null ? t("teach.share") : t("teach.shareOther"));
    this.#remember();
  }

  #remember() {
    const on = [this.#mic.track && "mic", this.#share && "share"].filter(Boolean).join(" ");
    sessionStorage.setItem(this.#memory, on);
  }

  /** @param {number} count */
  #showCount(count) {
    this.count.replaceChildren(icon("people"), counted("teach.watching", count));
  }

  /** @param {{state: import("../core/session.js").State, reason: string}} change */
  #onState({ state, reason }) {
    if (state === "idle") return;
    this.#connection.dataset.state = state;
    if (state === "closed") {
      this.#release();
      this.#side.close();
      this.dispatchEvent(new CustomEvent("closed", { detail: { reason } }));
      return;
    }
    this.#connection.textContent = t(`teach.${state}`);
    if (state === "reconnecting") this.say(t("teach.reconnectingHint"));
    if (state === "connected" && this.#message.textContent === t("teach.reconnectingHint")) this.say("");
  }

  /** @param {Record<string, any>} message */
  #onMessage(message) {
    this.#side.take(message);
    const paused = sharePausedOf(message);
    // A node that has not heard of it, or that has heard it of a page before this one.
    if (message.type === "hello" && paused !== null && paused !== this.#paused) {
      this.#publisher.tell({ type: "pause_share", paused: this.#paused });
    }
    const count = countOf(message);
    if (count !== null) this.#showCount(count);
  }

  /** Say what students receive at best. */
  async #look() {
    const connected = this.#publisher.state === "connected";
    const report = connected && this.#share && !this.#paused ? await this.#publisher.connection?.getStats() : null;
    const sending = report ? this.#sending.note(report) : null;
    if (report) await this.#tend(report);
    this.#glance.textContent = sending === null ? "" : glance(sending);
    this.#glance.dataset.trouble = sending?.trouble ?? "none";
  }

  /** @param {BeforeUnloadEvent} event */
  #onBeforeUnload = (event) => {
    if (this.#mic.track !== null || this.#share !== null) event.preventDefault();
  };

  #onPageHide = () => this.close("pagehide");
  #onOnline = () => this.#publisher.hurry();
  /** A page that comes out of the back-forward cache has a session that it left.
   *  @param {PageTransitionEvent} event */
  #onPageShow = (event) => {
    if (event.persisted) location.reload();
  };

  /** Let go of devices and listeners; what was on is remembered for a reload. */
  #release() {
    removeEventListener("pagehide", this.#onPageHide);
    removeEventListener("online", this.#onOnline);
    removeEventListener("beforeunload", this.#onBeforeUnload);
    clearInterval(this.#glancing);
    stop(this.#share?.video, this.#share?.audio);
    this.#mic.close();
  }
}

/** @param {import("../core/sending.js").Sending} sending */
function glance({ width, height, framesPerS, bitsPerS, lost, trouble }) {
  const seen = t("teach.glance", {
    size: `${width} × ${height}`,
    frames: framesPerS,
    rate: (bitsPerS / 1e6).toFixed(1),
    lost: Math.round(lost * 100),
  });
  return trouble === "none" ? seen : `${seen} ${t(`teach.trouble.${trouble}`)}`;
}

/** @param {...(MediaStreamTrack | null | undefined)} tracks */
function stop(...tracks) {
  for (const track of tracks) track?.stop();
}

/**
 * @param {HTMLButtonElement} target
 * @param {string} label
 * @param {string} [name] of another icon
 */
function relabel(target, label, name) {
  /** @type {HTMLElement} */ (target.lastElementChild).textContent = label;
  if (name) target.firstElementChild?.replaceWith(icon(name));
}
