/**
 * What a student's page tells the server of how watching was: the time to the first picture, freezes,
 * and how long was watched. Figures only, of nobody by name.
 *
 * A report goes out where there is something to say, some time after it happened and never as one with
 * everybody else's: a class of thousands ends at one moment.
 */

import { send } from "./api.js";

const REPORT_URL = "/live/reports";
// The server lets an account send four a minute.
const FIRST_MS = [5_000, 20_000];
const NEXT_MS = [45_000, 75_000];
// Watching without a freeze is said seldom: it is what freezes are divided by.
const QUIET_MS = 10 * 60_000;
const LATE_MS_MAX = 15_000;

// What the server believes at most (signaling/reports.py).
const MAX = { first_frame_ms: 120_000, watched_ms: 900_000, frozen_ms: 900_000, freezes: 10_000 };

/** @typedef {{freezes: number, frozenMs: number}} Freezes since the beginning */

export class Reports {
  #now;
  #random;
  #post;
  #freezes;
  /** Told already. */
  #told = { freezes: 0, frozenMs: 0 };
  /** @type {number | null} */
  #firstFrameMs = null;
  #since = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #open = false;

  /**
   * @param {() => Freezes} freezes
   * @param {{now?: () => number, random?: () => number,
   *   post?: (report: Record<string, number>) => void}} [rim] time, chance and the network
   */
  constructor(freezes, { now = () => performance.now(), random = Math.random, post = posted } = {}) {
    this.#freezes = freezes;
    this.#now = now;
    this.#random = random;
    this.#post = post;
  }

  /** Watching begins; again after a loss it goes on. */
  open() {
    if (this.#open) return;
    this.#open = true;
    this.#since = this.#now();
    this.#wait(FIRST_MS);
  }

  /** @param {number} ms from asking for the class to its first picture */
  firstFrame(ms) {
    this.#firstFrameMs = ms;
  }

  /**
   * Watching is over; say what was not said yet.
   * @param {{closing: boolean}} how closing: the page goes, so now or never
   */
  close({ closing }) {
    if (!this.#open) return;
    this.#open = false;
    clearTimeout(this.#timer);
    const report = this.take();
    if (closing) this.#post(report);
    else setTimeout(() => this.#post(report), this.#random() * LATE_MS_MAX);
  }

  /** What happened since the last report. */
  take() {
    const now = this.#now();
    const { freezes, frozenMs } = this.#freezes();
    /** @type {Record<string, number>} */
    const report = {
      watched_ms: now - this.#since,
      freezes: freezes - this.#told.freezes,
      frozen_ms: frozenMs - this.#told.frozenMs,
    };
    if (this.#firstFrameMs !== null) report.first_frame_ms = this.#firstFrameMs;
    this.#told = { freezes, frozenMs };
    this.#since = now;
    this.#firstFrameMs = null;
    return bounded(report);
  }

  get isDue() {
    const quiet = this.#now() - this.#since < QUIET_MS;
    return this.#firstFrameMs !== null || this.#freezes().freezes > this.#told.freezes || !quiet;
  }

  /** @param {number[]} range */
  #wait([least, most]) {
    this.#timer = setTimeout(
      () => {
        if (this.isDue) this.#post(this.take());
        this.#wait(NEXT_MS);
      },
      least + this.#random() * (most - least),
    );
  }
}

/** @param {Record<string, number>} report */
function bounded(report) {
  return Object.fromEntries(
    Object.entries(MAX)
      .filter(([name]) => name in report)
      .map(([name, most]) => [name, Math.min(most, Math.max(0, Math.round(report[name])))]),
  );
}

/** @param {Record<string, number>} report */
function posted(report) {
  const headers = { "Content-Type": "application/json" };
  // It is of use to figures alone: what is lost is lost.
  send(REPORT_URL, { method: "POST", headers, body: JSON.stringify(report), keepalive: true }).catch(
    () => {},
  );
}
