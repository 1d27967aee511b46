/**
 * How a student's own line does, out of what the browser counts of it: lost packets, sound that had to
 * be made up, and pictures that stood still because something was missing.
 *
 * A picture that stands still is no freeze in itself: browsers count one whenever frames come slower
 * than before, so each screen that stops moving and each pause of the teacher would be one. It counts
 * where packets were lost or asked for again in the same time.
 */

/** @typedef {"good" | "poor" | "bad"} Verdict */
/**
 * @typedef {object} Reading
 * @property {Verdict} verdict
 * @property {"none" | "loss" | "frozen" | "sound"} reason what is worst about it
 * @property {number} lost a part of 1, of all packets of the last seconds
 * @property {number} frozenMs of the last seconds
 * @property {number} bitsPerS of all that was received
 * @property {number} framesPerS
 * @property {number} width 0 where there is no picture
 * @property {number} height
 */
/**
 * @typedef {{atMs: number, received: number, lost: number, bytes: number, trouble: number,
 *   freezes: number, frozenMs: number, made: number, samples: number}} Counters
 */

// Counted over so many looks: long enough to be calm, short enough to be of use.
const LOOKS = 4;
// From here on it is seen or heard by somebody who watches.
const LIMITS = {
  loss: { poor: 0.03, bad: 0.1 },
  frozen: { poor: 0.05, bad: 0.25 }, // parts of the time
  sound: { poor: 0.05, bad: 0.2 }, // parts of what was played
};
/** A sleeping tab looks seldom: what is older says nothing about now. */
const SPAN_MS_MAX = 30_000;

export class Quality {
  /** @type {Counters[]} */
  #seen = [];
  /** Freezes and time frozen since the beginning, of all connections, where something was missing. */
  freezes = 0;
  frozenMs = 0;

  /**
   * @param {RTCStatsReport} report of the connection in use
   * @returns {Reading | null} null until there are two reports to compare
   */
  note(report) {
    const { counters, picture } = countersOf(report);
    const before = this.#seen.at(-1);
    // Another connection counts from the beginning.
    if (before && (counters.received < before.received || counters.atMs - before.atMs > SPAN_MS_MAX)) {
      this.#seen = [];
    } else if (before && counters.trouble > before.trouble) {
      this.freezes += Math.max(0, counters.freezes - before.freezes);
      this.frozenMs += Math.max(0, counters.frozenMs - before.frozenMs);
    } else if (before) {
      // No freeze, so none of it counts against the line below either.
      for (const one of this.#seen) one.frozenMs += counters.frozenMs - before.frozenMs;
    }
    this.#seen.push(counters);
    this.#seen = this.#seen.slice(-LOOKS);
    const [first] = this.#seen;
    return first === counters ? null : { ...judged(first, counters), ...picture };
  }

  /** Begin anew: the connection was lost. */
  forget() {
    this.#seen = [];
  }
}

/**
 * @param {Counters} first
 * @param {Counters} last
 */
function judged(first, last) {
  const elapsedMs = Math.max(1, last.atMs - first.atMs);
  const received = last.received - first.received;
  // It falls where a packet that was counted as lost comes late.
  const missing = Math.max(0, last.lost - first.lost);
  const samples = last.samples - first.samples;
  const parts = {
    loss: missing / Math.max(1, received + missing),
    frozen: Math.min(1, (last.frozenMs - first.frozenMs) / elapsedMs),
    sound: samples > 0 ? Math.max(0, last.made - first.made) / samples : 0,
  };
  return {
    ...verdictOf(parts),
    lost: parts.loss,
    frozenMs: Math.round(last.frozenMs - first.frozenMs),
    bitsPerS: ((last.bytes - first.bytes) * 8000) / elapsedMs,
  };
}

/**
 * @param {Record<"loss" | "frozen" | "sound", number>} parts
 * @returns {{verdict: Verdict, reason: Reading["reason"]}}
 */
function verdictOf(parts) {
  for (const verdict of /** @type {const} */ (["bad", "poor"])) {
    for (const reason of /** @type {const} */ (["frozen", "loss", "sound"])) {
      if (parts[reason] >= LIMITS[reason][verdict]) return { verdict, reason };
    }
  }
  return { verdict: "good", reason: "none" };
}

/** @param {RTCStatsReport} report */
function countersOf(report) {
  /** @type {Counters} */
  const counters = {
    atMs: 0,
    received: 0,
    lost: 0,
    bytes: 0,
    trouble: 0,
    freezes: 0,
    frozenMs: 0,
    made: 0,
    samples: 0,
  };
  const picture = { width: 0, height: 0, framesPerS: 0 };
  report.forEach((/** @type {any} */ entry) => {
    if (entry.type !== "inbound-rtp") return;
    counters.atMs = Math.max(counters.atMs, entry.timestamp);
    counters.received += entry.packetsReceived ?? 0;
    counters.lost += entry.packetsLost ?? 0;
    counters.bytes += entry.bytesReceived ?? 0;
    counters.trouble += (entry.packetsLost ?? 0) + (entry.nackCount ?? 0) + (entry.pliCount ?? 0);
    if (entry.kind === "video") {
      counters.freezes += entry.freezeCount ?? 0;
      counters.frozenMs += 1000 * (entry.totalFreezesDuration ?? 0);
      picture.width = entry.frameWidth ?? 0;
      picture.height = entry.frameHeight ?? 0;
      picture.framesPerS = Math.round(entry.framesPerSecond ?? 0);
    } else {
      // Silence that is made up while nobody speaks is as it should be.
      counters.made += (entry.concealedSamples ?? 0) - (entry.silentConcealedSamples ?? 0);
      counters.samples += entry.totalSamplesReceived ?? 0;
    }
  });
  return { counters, picture };
}
