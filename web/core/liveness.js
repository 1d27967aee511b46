/**
 * Is the path to the node alive? Judged from what the browser counts as received.
 *
 * Pure: time and counters come in. A node sends something several times a second even in a still
 * class, so a second without a packet means more than a still picture. But a path is only held to
 * what it has shown: one that has been regular is given up early, any other late.
 */

// Browsers ask for consent every 2.5 s at the least often, so even a path without media or RTCP
// shows an answer within this time twice.
export const SILENCE_LATE_MS = 8000;
export const SILENCE_EARLY_MS = 2000;
// How long a path must have moved in every sample before it is held to the shorter time.
const REGULAR_MS = 6000;

export class Liveness {
  #count = -1;
  #movedAt = 0;
  #regularSince = 0;
  #moved = false;

  /**
   * @param {number} nowMs
   * @param {number} count anything that grows with each packet received
   * @returns {"alive" | "silent"}
   */
  note(nowMs, count) {
    if (this.#count < 0) {
      this.#count = count;
      this.#movedAt = this.#regularSince = nowMs;
      return "alive";
    }
    if (count !== this.#count) {
      if (nowMs - this.#movedAt > SILENCE_EARLY_MS / 2) this.#regularSince = nowMs;
      this.#count = count;
      this.#movedAt = nowMs;
      this.#moved = true;
      return "alive";
    }
    // A browser that counts nothing must not end a path that works.
    if (!this.#moved) return "alive";
    const regular = this.#movedAt - this.#regularSince >= REGULAR_MS;
    const limit = regular ? SILENCE_EARLY_MS : SILENCE_LATE_MS;
    return nowMs - this.#movedAt >= limit ? "silent" : "alive";
  }
}

/**
 * Sum what a report says was received over the transport, STUN answers included.
 * @param {RTCStatsReport} report
 */
export function receivedCount(report) {
  let count = 0;
  report.forEach((entry) => {
    if (entry.type === "transport") count += entry.packetsReceived ?? 0;
    if (entry.type === "candidate-pair") {
      count += (entry.responsesReceived ?? 0) + (entry.bytesReceived ?? 0);
    }
    if (entry.type === "inbound-rtp") count += entry.packetsReceived ?? 0;
  });
  return count;
}
