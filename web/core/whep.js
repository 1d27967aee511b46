/**
 * The student's side: one video and two audio sections (mic, screen sound), received only.
 */

import { whepByClassUrl, whepByLinkUrl } from "./api.js";
import { withOpusParameters } from "./sdp.js";
import { MediaSession } from "./session.js";

/** @typedef {import("./whip.js").Slot} Slot */

/** @type {Slot[]} */
const SLOTS = ["video", "mic", "screen_audio"];

/** Adds the event `media` {slot, stream}: what the page's element of that slot plays from now on. */
export class Viewer extends MediaSession {
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
      this.dispatchEvent(new CustomEvent("media", { detail: { slot, stream } }));
    });
  }

  /** A browser decodes two channels only where its own offer says so.
   *  @param {string} sdp
   *  @override */
  editOffer(sdp) {
    return withOpusParameters(sdp, "stereo=1");
  }
}
