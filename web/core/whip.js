/**
 * The teacher's side: one video and two audio sections (mic, screen sound), made once. Starting,
 * stopping and changing a source replaces the track inside its section and costs no negotiation.
 */

import { whipUrl } from "./api.js";
import { withOpusParameters } from "./sdp.js";
import { MediaSession } from "./session.js";

/** @typedef {"video" | "mic" | "screen_audio"} Slot */

/** The order of the sections is part of the contract: the first audio is the mic. */
/** @type {Slot[]} */
const SLOTS = ["video", "mic", "screen_audio"];

// 4 Mbit/s carries 1080p of slides and code without a visible step; video inside the share stays
// watchable.
const VIDEO_BITRATE_MAX = 4_000_000;
export const FRAME_RATE_MAX = 30;
const SCREEN_AUDIO_BITRATE = 128_000;

export class Publisher extends MediaSession {
  /** @type {Record<Slot, MediaStreamTrack | null>} */
  #tracks = { video: null, mic: null, screen_audio: null };
  /** @type {WeakMap<RTCPeerConnection, Map<Slot, RTCRtpSender>>} */
  #senders = new WeakMap();
  /** @type {RTCPeerConnection | null} */
  #newest = null;

  /** @param {string} classId */
  constructor(classId) {
    super(whipUrl(classId), whipUrl(classId), whipUrl(classId));
    // Picture and screen sound share a stream, so that viewers play them in step; the mic is alone.
    this.screenStream = new MediaStream();
    this.micStream = new MediaStream();
  }

  /**
   * Send this track in its section from now on, or nothing.
   * @param {Slot} slot
   * @param {MediaStreamTrack | null} track
   */
  async setTrack(slot, track) {
    if (track !== null && slot === "video") track.contentHint = "detail";
    if (track !== null && slot === "screen_audio") track.contentHint = "music";
    this.#tracks[slot] = track;
    const connections = new Set([this.connection, this.#newest]);
    for (const pc of connections) {
      const sender = pc && pc.signalingState !== "closed" && this.#senders.get(pc)?.get(slot);
      if (sender) await sender.replaceTrack(track);
    }
  }

  /** @param {RTCPeerConnection} pc
   *  @override */
  buildSections(pc) {
    this.#newest = pc;
    /** @type {Map<Slot, RTCRtpSender>} */
    const senders = new Map();
    for (const slot of SLOTS) {
      const transceiver = pc.addTransceiver(
        this.#tracks[slot] ?? (slot === "video" ? "video" : "audio"),
        {
          direction: "sendonly",
          streams: [slot === "mic" ? this.micStream : this.screenStream],
          ...(slot === "video" && {
            sendEncodings: [{ maxBitrate: VIDEO_BITRATE_MAX, maxFramerate: FRAME_RATE_MAX }],
          }),
        },
      );
      if (slot === "video") preferSharpVp8(transceiver);
      senders.set(slot, transceiver.sender);
    }
    this.#senders.set(pc, senders);
  }

  /** @param {string} sdp
   *  @override */
  editAnswer(sdp) {
    const parameters = `stereo=1;maxaveragebitrate=${SCREEN_AUDIO_BITRATE}`;
    return withOpusParameters(sdp, parameters, (audioIndex) => audioIndex === 1);
  }
}

/**
 * VP8 first, everything else behind it; and a slow network costs frames, not letters.
 * @param {RTCRtpTransceiver} transceiver
 */
function preferSharpVp8(transceiver) {
  const codecs = RTCRtpSender.getCapabilities("video")?.codecs ?? [];
  const isVp8 = (/** @type {RTCRtpCodec} */ codec) => codec.mimeType.toLowerCase() === "video/vp8";
  transceiver.setCodecPreferences([
    ...codecs.filter(isVp8),
    ...codecs.filter((codec) => !isVp8(codec)),
  ]);
  const parameters = transceiver.sender.getParameters();
  // Not in every browser's types, and ignored where it is not known.
  Object.assign(parameters, { degradationPreference: "maintain-resolution" });
  transceiver.sender.setParameters(parameters).catch(() => {});
}
