/**
 * What leaves this browser as its picture, and how much of it is lost on the way to the server: what
 * students receive is at best that.
 */

/**
 * @typedef {{width: number, height: number, framesPerS: number, bitsPerS: number, lost: number,
 *   trouble: "none" | "line" | "computer"}} Sending `trouble`: what keeps the picture from being better
 */

// A part of 1 that is lost on the way: repaired, but late.
const LOST_MUCH = 0.05;
// A browser calls its line narrow while it finds out how wide it is.
const LIMITED_LOOKS = 4;

// A frame may take an encoder this part of the time until the next one comes.
const ENCODING_SHARE_MAX = 0.8;
const BEHIND_LOOKS = 3;
// A share that moves like film for so many looks is film; scrolling stops before.
const FILM_FRAMES_PER_S = 20;
const STILL_FRAMES_PER_S = 12;
const CONTENT_LOOKS = 4;

/** Whether the encoder keeps up, and what it encodes, out of what the browser counts. */
export class Encoding {
  #at = 0;
  #frames = 0;
  #encodeS = 0;
  #behind = 0;
  #other = 0;
  /** @type {import("./whip.js").Content} */
  content = "text";

  /**
   * @param {RTCStatsReport} report
   * @returns {{keepsUp: boolean, content: import("./whip.js").Content}} `content` changes when what is shown has been other for a while
   */
  note(report) {
    /** @type {any} */
    let sent = null;
    /** @type {any} */
    let source = null;
    report.forEach((entry) => {
      if (entry.kind !== "video") return;
      if (entry.type === "outbound-rtp") sent = entry;
      if (entry.type === "media-source") source = entry;
    });
    if (sent === null || source === null) return { keepsUp: true, content: this.content };
    const elapsedS = (sent.timestamp - this.#at) / 1000;
    const frames = sent.framesEncoded - this.#frames;
    const encodeS = sent.totalEncodeTime - this.#encodeS;
    const first = this.#at === 0 || frames < 0;
    this.#at = sent.timestamp;
    this.#frames = sent.framesEncoded;
    this.#encodeS = sent.totalEncodeTime;
    if (!first && elapsedS > 0) {
      const slow =
        sent.qualityLimitationReason === "cpu" || encodeS > ENCODING_SHARE_MAX * elapsedS;
      this.#behind = slow ? this.#behind + 1 : 0;
      this.#judge(source.framesPerSecond ?? 0);
    }
    return { keepsUp: this.#behind < BEHIND_LOOKS, content: this.content };
  }

  /** @param {number} framesPerS of what is captured */
  #judge(framesPerS) {
    const other =
      this.content === "text" ? framesPerS >= FILM_FRAMES_PER_S : framesPerS <= STILL_FRAMES_PER_S;
    this.#other = other ? this.#other + 1 : 0;
    if (this.#other < CONTENT_LOOKS) return;
    this.#other = 0;
    this.content = this.content === "text" ? "motion" : "text";
  }

  /** Another codec begins: it has not fallen behind yet. */
  forgive() {
    this.#behind = 0;
  }
}

export class SendingMeter {
  #at = 0;
  #bytes = 0;
  #limited = { reason: "none", looks: 0 };

  /**
   * @param {RTCStatsReport} report
   * @returns {Sending | null} `lost` is a part of 1; null while nothing is sent
   */
  note(report) {
    /** @type {any} */
    let sent = null;
    /** @type {any} */
    let heard = null;
    report.forEach((entry) => {
      if (entry.kind !== "video") return;
      if (entry.type === "outbound-rtp") sent = entry;
      if (entry.type === "remote-inbound-rtp") heard = entry;
    });
    if (sent === null) return null;
    const elapsedMs = sent.timestamp - this.#at;
    const bytes = sent.bytesSent - this.#bytes;
    const first = this.#at === 0 || bytes < 0;
    this.#at = sent.timestamp;
    this.#bytes = sent.bytesSent;
    if (first || elapsedMs <= 0 || !sent.frameWidth) return null;
    const lost = heard?.fractionLost ?? 0;
    return {
      width: sent.frameWidth,
      height: sent.frameHeight,
      framesPerS: Math.round(sent.framesPerSecond ?? 0),
      bitsPerS: (bytes * 8000) / elapsedMs,
      lost,
      trouble: this.#troubleOf(sent.qualityLimitationReason ?? "none", lost),
    };
  }

  /**
   * @param {string} reason as the browser names it
   * @param {number} lost
   * @returns {Sending["trouble"]}
   */
  #troubleOf(reason, lost) {
    const looks = reason === this.#limited.reason ? this.#limited.looks + 1 : 1;
    this.#limited = { reason, looks };
    if (lost >= LOST_MUCH) return "line";
    if (looks < LIMITED_LOOKS) return "none";
    return reason === "bandwidth" ? "line" : reason === "cpu" ? "computer" : "none";
  }
}
