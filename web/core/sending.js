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
