/**
 * What leaves this browser as its picture, and how much of it is lost on the way to the server: what
 * students receive is at best that.
 */

/** @typedef {{width: number, height: number, framesPerS: number, bitsPerS: number, lost: number}} Sending */

export class SendingMeter {
  #at = 0;
  #bytes = 0;

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
    return {
      width: sent.frameWidth,
      height: sent.frameHeight,
      framesPerS: Math.round(sent.framesPerSecond ?? 0),
      bitsPerS: (bytes * 8000) / elapsedMs,
      lost: heard?.fractionLost ?? 0,
    };
  }
}
