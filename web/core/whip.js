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

/** What the picture is about: letters, which stay sharp and cost frames, or motion, the other way round. */
/** @typedef {"text" | "motion"} Content */
/** @type {Record<Content, {hint: string, degradationPreference: string}>} */
const CONTENTS = {
  text: { hint: "detail", degradationPreference: "maintain-resolution" },
  motion: { hint: "motion", degradationPreference: "balanced" },
};

/**
 * Temporal layers, which a student's narrow line can do without (docs/performance.md has what they cost).
 * H264 has none in browsers, and Chromium sends VP9's of a screen at a lower rate.
 * @type {Partial<Record<VideoCodec, string>>}
 */
const LAYERS = { VP8: "L1T3", AV1: "L1T3" };

/** @typedef {"VP8" | "VP9" | "H264" | "AV1"} VideoCodec */

/** The default first: every browser plays it. */
/** @type {VideoCodec[]} */
const VIDEO_CODECS = ["VP8", "VP9", "H264", "AV1"];

/**
 * The codecs that this browser can send.
 * @returns {VideoCodec[]}
 */
export function sendableCodecs() {
  const codecs = capableCodecs();
  return VIDEO_CODECS.filter((name) => codecs.some(isCodec(name)));
}

export class Publisher extends MediaSession {
  /** @type {Record<Slot, MediaStreamTrack | null>} */
  #tracks = { video: null, mic: null, screen_audio: null };
  /** @type {WeakMap<RTCPeerConnection, Map<Slot, RTCRtpSender>>} */
  #senders = new WeakMap();
  /** @type {RTCPeerConnection | null} */
  #newest = null;
  /** @type {VideoCodec} */
  #codec = VIDEO_CODECS[0];
  /** @type {Content} */
  #content = "text";

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
    if (track !== null && slot === "video") track.contentHint = CONTENTS[this.#content].hint;
    if (track !== null && slot === "screen_audio") track.contentHint = "music";
    this.#tracks[slot] = track;
    for (const sender of this.#sendersOf(slot)) await sender.replaceTrack(track);
  }

  /**
   * Send the picture in this codec from now on: every connection has agreed to all of them.
   * @param {VideoCodec} name
   * @returns {Promise<boolean>} whether the browser has changed it while it sends
   */
  async setCodec(name) {
    this.#codec = name;
    let changed = true;
    for (const sender of this.#sendersOf("video")) {
      const { codecs, encodings } = sender.getParameters();
      // Before the answer there are none agreed on.
      const codec = (codecs.length > 0 ? codecs : capableCodecs()).find(isCodec(name));
      if (codec === undefined || encodings.length === 0) return false;
      const layers = LAYERS[name];
      // A browser that has no such layers for it refuses the whole: better without them than not at all.
      const isTaken =
        (await sendAs(sender, codec, layers)) || (layers !== undefined && (await sendAs(sender, codec)));
      changed &&= isTaken && chosenCodec(sender)?.mimeType === codec.mimeType;
    }
    return changed;
  }

  /**
   * Send for what is shown from now on.
   * @param {Content} content
   */
  async setContent(content) {
    this.#content = content;
    const { hint, degradationPreference } = CONTENTS[content];
    const track = this.#tracks.video;
    if (track !== null) track.contentHint = hint;
    for (const sender of this.#sendersOf("video")) {
      const parameters = sender.getParameters();
      if (parameters.encodings.length === 0) continue;
      Object.assign(parameters, { degradationPreference });
      // The hint is what matters; a sender that has just been closed takes neither.
      await sender.setParameters(parameters).catch(() => {});
    }
  }

  /** @param {Slot} slot */
  #sendersOf(slot) {
    const senders = [];
    for (const pc of new Set([this.connection, this.#newest])) {
      const sender = pc && pc.signalingState !== "closed" && this.#senders.get(pc)?.get(slot);
      if (sender) senders.push(sender);
    }
    return senders;
  }

  /** @param {RTCPeerConnection} pc
   *  @override */
  buildSections(pc) {
    this.#newest = pc;
    /** @type {Map<Slot, RTCRtpSender>} */
    const senders = new Map();
    for (const slot of SLOTS) {
      const transceiver = this.#addSection(pc, slot);
      if (slot === "video") {
        preferVp8(transceiver, CONTENTS[this.#content].degradationPreference);
      } else if (slot === "mic") {
        preferRedundant(transceiver);
      }
      senders.set(slot, transceiver.sender);
    }
    this.#senders.set(pc, senders);
  }

  /**
   * @param {RTCPeerConnection} pc
   * @param {Slot} slot
   */
  #addSection(pc, slot) {
    const source = this.#tracks[slot] ?? (slot === "video" ? "video" : "audio");
    /** @type {RTCRtpTransceiverInit} */
    const section = {
      direction: "sendonly",
      streams: [slot === "mic" ? this.micStream : this.screenStream],
    };
    if (slot !== "video") return pc.addTransceiver(source, section);
    const encoding = this.#encoding();
    try {
      return pc.addTransceiver(source, { ...section, sendEncodings: [encoding] });
    } catch {
      // A browser that does not know these layers of this codec sends without.
      const plain = /** @type {any} */ ({ ...encoding });
      delete plain.scalabilityMode;
      return pc.addTransceiver(source, { ...section, sendEncodings: [plain] });
    }
  }

  /** @returns {RTCRtpEncodingParameters} */
  #encoding() {
    const encoding = {
      maxBitrate: VIDEO_BITRATE_MAX,
      maxFramerate: FRAME_RATE_MAX,
      scalabilityMode: LAYERS[this.#codec],
    };
    if (this.#codec === VIDEO_CODECS[0]) return encoding;
    const codec = capableCodecs().find(isCodec(this.#codec));
    // Not in every browser's types, and ignored where it is not known.
    return codec === undefined ? encoding : Object.assign(encoding, { codec });
  }

  /** A browser may send the end of a track as a black picture: students keep the last one.
   *  @override */
  get closesFirst() {
    return true;
  }

  /** @param {string} sdp
   *  @override */
  editAnswer(sdp) {
    const music = `stereo=1;maxaveragebitrate=${SCREEN_AUDIO_BITRATE}`;
    const sharp = withOpusParameters(sdp, music, (audioIndex) => audioIndex === 1);
    // Nothing is sent while nobody speaks (RFC 7587 section 6.1).
    return withOpusParameters(sharp, "usedtx=1", (audioIndex) => audioIndex === 0);
  }
}

const capableCodecs = () => RTCRtpSender.getCapabilities("video")?.codecs ?? [];

/**
 * @param {VideoCodec} name
 * @returns {(codec: {mimeType: string}) => boolean}
 */
const isCodec = (name) => (codec) =>
  codec.mimeType.toLowerCase() === `video/${name.toLowerCase()}`;

/**
 * @param {RTCRtpSender} sender
 * @returns {{mimeType: string} | undefined} undefined in a browser that has no such choice
 */
const chosenCodec = (sender) =>
  /** @type {any} */ (sender.getParameters().encodings[0]).codec;

/**
 * @param {RTCRtpSender} sender with an encoding
 * @param {RTCRtpCodec} codec
 * @param {string} [scalabilityMode]
 * @returns {Promise<boolean>} whether the browser has taken it
 */
async function sendAs(sender, { mimeType, clockRate, sdpFmtpLine }, scalabilityMode) {
  const parameters = sender.getParameters();
  const codec = { mimeType, clockRate, sdpFmtpLine };
  Object.assign(parameters.encodings[0], { codec, scalabilityMode });
  try {
    await sender.setParameters(parameters);
    return true;
  } catch {
    return false;
  }
}

/**
 * Speech with a copy of the packet before in each (RFC 2198): a student's loss is not heard. The server
 * takes the copies out for browsers that do not know them.
 * @param {RTCRtpTransceiver} transceiver
 */
function preferRedundant(transceiver) {
  const codecs = RTCRtpSender.getCapabilities("audio")?.codecs ?? [];
  const isRedundant = (/** @type {{mimeType: string}} */ { mimeType }) =>
    mimeType.toLowerCase() === "audio/red";
  transceiver.setCodecPreferences([
    ...codecs.filter(isRedundant),
    ...codecs.filter((codec) => !isRedundant(codec)),
  ]);
}

/**
 * VP8 first, everything else behind it; and a slow network costs what the content can do without.
 * @param {RTCRtpTransceiver} transceiver
 * @param {string} degradationPreference
 */
function preferVp8(transceiver, degradationPreference) {
  const codecs = capableCodecs();
  const isVp8 = isCodec("VP8");
  transceiver.setCodecPreferences([
    ...codecs.filter(isVp8),
    ...codecs.filter((codec) => !isVp8(codec)),
  ]);
  const parameters = transceiver.sender.getParameters();
  // Not in every browser's types, and ignored where it is not known.
  Object.assign(parameters, { degradationPreference });
  transceiver.sender.setParameters(parameters).catch(() => {});
}
