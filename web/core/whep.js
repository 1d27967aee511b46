/**
 * The student's side: one video and two audio sections (mic, screen sound), received only.
 */

import { whepByClassUrl, whepByLinkUrl } from "./api.js";
import { withOpusParameters } from "./sdp.js";
import { MediaSession } from "./session.js";

/** @typedef {import("./whip.js").Slot} Slot */

/** @type {Slot[]} */
const SLOTS = ["video", "mic", "screen_audio"];

// A still screen is told anew once a second; a share that is paused never comes.
const READY_MS_MAX = 1500;
const READY_LOOK_MS = 40;

/** Adds the event `media` {slot, stream}: what the page's element of that slot plays from now on. */
export class Viewer extends MediaSession {
  /** Of a connection beside the one in use. @type {WeakMap<RTCPeerConnection, (() => void)[]>} */
  #waiting = new WeakMap();

  /** @param {string} token of the class link */
  constructor(token) {
    const byLink = whepByLinkUrl(token);
    super(byLink, byLink, byLink);
  }

  /**
   * Say which class it is, before `open`: coming back to it needs no link.
   * @param {string} classId
   * @param {{takeover?: boolean}} [options] takeover leaves the other class
   */
  aim(classId, { takeover = false } = {}) {
    this.againUrl = whepByClassUrl(classId);
    if (takeover) this.firstUrl = `${this.firstUrl}?takeover=1`;
  }

  /** @param {RTCPeerConnection} pc
   *  @override */
  buildSections(pc) {
    const transceivers = SLOTS.map((slot) =>
      pc.addTransceiver(slot === "video" ? "video" : "audio", { direction: "recvonly" }),
    );
    pc.addEventListener("track", (event) => {
      const slot = SLOTS[transceivers.indexOf(event.transceiver)];
      // A stream of its own per slot: three elements play them, whatever the answer's msid says.
      const stream = new MediaStream([event.track]);
      const show = () =>
        this.dispatchEvent(new CustomEvent("media", { detail: { slot, stream } }));
      if (!this.isMoving) show();
      else this.#waiting.set(pc, [...(this.#waiting.get(pc) ?? []), show]);
    });
  }

  /** Wait for the first picture: until then the old connection's is better than none.
   *  @param {RTCPeerConnection} pc
   *  @override */
  async ready(pc) {
    const until = performance.now() + READY_MS_MAX;
    while (performance.now() < until && (await picturesOf(pc)) === 0) {
      await new Promise((resolve) => setTimeout(resolve, READY_LOOK_MS));
    }
  }

  /** @param {RTCPeerConnection} pc
   *  @override */
  takeOver(pc) {
    for (const show of this.#waiting.get(pc) ?? []) show();
    this.#waiting.delete(pc);
  }

  /** A browser decodes two channels only where its own offer says so.
   *  @param {string} sdp
   *  @override */
  editOffer(sdp) {
    return withOpusParameters(sdp, "stereo=1");
  }
}

/**
 * How many pictures a connection has decoded.
 * @param {RTCPeerConnection} pc
 */
async function picturesOf(pc) {
  let pictures = 0;
  for (const entry of (await pc.getStats()).values()) {
    if (entry.type === "inbound-rtp" && entry.kind === "video") pictures += entry.framesDecoded ?? 0;
  }
  return pictures;
}
