/**
 * Keeps the teacher's voice with the picture. The sound of the screen is of the picture's own stream, and
 * browsers play the two together; the mic is another stream, which they play as early as they can.
 *
 * Voice and screen leave the teacher together and come the same way, so they are together where they wait
 * equally long here. How long that is browsers count (jitterBufferDelay of webrtc-stats); a voice that waits less is
 * told to wait longer (jitterBufferTarget of webrtc-extensions), and less again where the picture has caught up.
 */

// Sooner or later by less is noticed by nobody (ITU-R BT.1359: 45 ms early, 125 ms late).
const APART_MS_MAX = 40;
// Of one look: a buffer that grows at once is heard.
const STEP_MS = 100;
// A picture that is later than this is no reason to let people wait for words.
const TARGET_MS_MAX = 800;

/** @typedef {{delayS: number, emitted: number}} Waited all that was emitted, and how long it has waited in all */

export class Voice {
  /** @type {RTCRtpReceiver | null} */
  #receiver = null;
  /** @type {number | null} */
  #targetMs = null;
  /** @type {Map<string, Waited>} */
  #before = new Map();

  /**
   * Look at a report of the connection in use, and hold the voice back or let it go.
   * @param {RTCPeerConnection} pc
   * @param {RTCStatsReport} report
   */
  note(pc, report) {
    // The first audio section is the mic's, by contract.
    const [mic, screen] = pc.getTransceivers().filter(({ receiver }) => receiver.track.kind === "audio");
    if (!mic || !("jitterBufferTarget" in mic.receiver)) return;
    if (this.#receiver !== mic.receiver) {
      this.#receiver = mic.receiver;
      this.#targetMs = null;
      this.#before = new Map();
    }
    /** @type {Map<string, Waited>} */
    const now = new Map();
    for (const entry of report.values()) {
      if (entry.type === "inbound-rtp") {
        now.set(entry.mid ?? "", { delayS: entry.jitterBufferDelay, emitted: entry.jitterBufferEmittedCount });
      }
    }
    const before = this.#before;
    this.#before = now;
    const waitedMs = (/** @type {string | null} */ mid) => meanMs(before.get(mid ?? ""), now.get(mid ?? ""));
    const voiceMs = waitedMs(mic.mid);
    const screenMs = waitedMs(screen?.mid ?? null);
    if (voiceMs === null || screenMs === null) return;
    const next = nextTargetMs(this.#targetMs, voiceMs, screenMs);
    if (next === this.#targetMs) return;
    this.#targetMs = next;
    mic.receiver.jitterBufferTarget = next;
  }
}

/**
 * @param {number | null} targetMs what the voice's buffer was told; null: nothing
 * @param {number} voiceMs how long the voice has waited lately
 * @param {number} screenMs how long the screen's sound has
 * @returns {number | null} what it is to be told
 */
export function nextTargetMs(targetMs, voiceMs, screenMs) {
  const aheadMs = screenMs - voiceMs;
  if (Math.abs(aheadMs) <= APART_MS_MAX) return targetMs;
  const step = Math.max(-STEP_MS, Math.min(STEP_MS, aheadMs));
  // Below what it waits by itself it cannot be told.
  if (targetMs === null && step < 0) return null;
  const next = Math.min(TARGET_MS_MAX, (targetMs ?? voiceMs) + step);
  return next > 0 ? next : null;
}

/**
 * @param {Waited | undefined} before
 * @param {Waited | undefined} now
 * @returns {number | null} null where nothing was emitted between the two
 */
function meanMs(before, now) {
  const emitted = (now?.emitted ?? 0) - (before?.emitted ?? 0);
  if (!before || !now || !(emitted > 0)) return null;
  return (1000 * (now.delayS - before.delayS)) / emitted;
}
