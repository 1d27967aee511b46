/**
 * Is the path to the node alive? Judged from what the browser counts as received.
 *
 * Pure: time and counters come in. A node sends something every 250 ms even in a still class, so most
 * of a second without a packet means more than a still picture. But a path is only held to what it has
 * shown: one that has been regular is given up early, a young one a little later, any other late.
 */

// Browsers ask for consent every 2.5 s at the least often, so even a path without media or RTCP
// shows an answer within this time twice.
export const SILENCE_LATE_MS = 8000;
// With a look each 150 ms the last packet may be as much older: it is noticed within a second. Three
// of the node's packets are missing then.
export const SILENCE_EARLY_MS = 750;
// Of a path that has not shown anything yet: a handshake's message that is sent again takes a second.
export const SILENCE_YOUNG_MS = 1500;
// How long a path must have shown its gaps before it is held to them, and how long they count.
const REGULAR_MS = 2000;
const REMEMBERED_MS = 10_000;
// A path on which packets are lost, or a busy computer, gets twice the longest gap it has shown.
const PATIENCE = 2;

export class Liveness {
  #count = -1;
  #movedAt = 0;
  #begunAt = 0;
  #moved = false;
  #wasCut = false;
  /** @type {{at: number, gap: number}[]} */
  #gaps = [];

  /**
   * @param {number} nowMs
   * @param {number} count anything that grows with each packet received
   * @returns {"alive" | "silent"}
   */
  note(nowMs, count) {
    if (this.#count < 0) {
      this.#count = count;
      this.#movedAt = this.#begunAt = nowMs;
      return "alive";
    }
    if (count !== this.#count) {
      if (this.#moved) this.#remember(nowMs, nowMs - this.#movedAt);
      else this.#begunAt = nowMs;
      this.#count = count;
      this.#movedAt = nowMs;
      this.#moved = true;
      return "alive";
    }
    // A browser that counts nothing must not end a path that works.
    if (!this.#moved) return "alive";
    return nowMs - this.#movedAt >= this.#limit() ? "silent" : "alive";
  }

  /**
   * A cut says nothing about the path before and after it.
   * @param {number} at
   * @param {number} gap
   */
  #remember(at, gap) {
    if (gap >= this.#limit()) {
      this.#begunAt = at;
      this.#gaps = [];
      this.#wasCut = true;
      return;
    }
    this.#gaps.push({ at, gap });
    this.#gaps = this.#gaps.filter((one) => at - one.at <= REMEMBERED_MS);
  }

  #limit() {
    const young = this.#movedAt - this.#begunAt < REGULAR_MS;
    const longest = Math.max(0, ...this.#gaps.map(({ gap }) => gap));
    if (young && this.#wasCut) return SILENCE_LATE_MS;
    const least = young ? SILENCE_YOUNG_MS : SILENCE_EARLY_MS;
    return Math.min(SILENCE_LATE_MS, Math.max(least, PATIENCE * longest));
  }
}

/**
 * Adds up what reports say was received over the transport, STUN answers included. A report's own sum
 * may shrink: an ICE restart takes the old candidate pairs out of it.
 */
export class Received {
  #total = 0;
  /** @type {Map<string, number>} */
  #seen = new Map();

  /**
   * @param {RTCStatsReport} report
   * @returns {number} of the units of one path only: it grows with each packet
   */
  note(report) {
    /** @type {Map<string, number>} */
    const now = new Map();
    report.forEach((entry) => {
      const count = countOf(entry);
      if (count !== null) now.set(entry.id, count);
    });
    for (const [id, count] of now) this.#total += Math.max(0, count - (this.#seen.get(id) ?? 0));
    this.#seen = now;
    return this.#total;
  }
}

/**
 * @param {any} entry
 * @returns {number | null}
 */
function countOf(entry) {
  if (entry.type === "transport" || entry.type === "inbound-rtp") return entry.packetsReceived ?? 0;
  if (entry.type !== "candidate-pair") return null;
  return (entry.responsesReceived ?? 0) + (entry.bytesReceived ?? 0);
}
