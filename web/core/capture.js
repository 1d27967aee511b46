/** Screen, screen sound and microphone, asked for in the way that keeps them whole. */

import { FRAME_RATE_MAX } from "./whip.js";
import { LecternError } from "./errors.js";

/** @typedef {{id: string, label: string}} Device */

/**
 * Let the person choose a screen, window or tab; needs a click.
 * @returns {Promise<{video: MediaStreamTrack, audio: MediaStreamTrack | null}>}
 */
export async function captureScreen() {
  if (!navigator.mediaDevices?.getDisplayMedia) {
    throw new LecternError("no_capture", "getDisplayMedia is missing");
  }
  const options = {
    video: { frameRate: { ideal: FRAME_RATE_MAX, max: FRAME_RATE_MAX } },
    // With plain `true` the sound comes echo-cancelled: mono and quiet.
    audio: { echoCancellation: false },
    systemAudio: "include",
    surfaceSwitching: "include",
    // Sharing the page that shows the preview is a hall of mirrors.
    selfBrowserSurface: "exclude",
  };
  const stream = await navigator.mediaDevices.getDisplayMedia(options);
  return { video: stream.getVideoTracks()[0], audio: stream.getAudioTracks()[0] ?? null };
}

/**
 * @param {string} [deviceId] of the microphone that is wished for; another one where it is gone
 * @returns {Promise<MediaStreamTrack>}
 */
export async function captureMic(deviceId = "") {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new LecternError("no_capture", "getUserMedia is missing");
  }
  const voice = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
  const ask = async (/** @type {MediaTrackConstraints} */ audio) =>
    (await navigator.mediaDevices.getUserMedia({ audio })).getAudioTracks()[0];
  if (deviceId === "") return ask(voice);
  try {
    // Not "ideal": Chromium then goes on with the device that is open already.
    return await ask({ ...voice, deviceId: { exact: deviceId } });
  } catch (error) {
    if (/** @type {any} */ (error)?.name !== "OverconstrainedError") throw error;
    return ask(voice);
  }
}

/**
 * The microphones, as far as the browser names them: before one was allowed it names none.
 * @returns {Promise<Device[]>}
 */
export async function microphones() {
  const devices = (await navigator.mediaDevices?.enumerateDevices?.()) ?? [];
  return devices
    .filter(({ kind, deviceId, label }) => kind === "audioinput" && deviceId !== "" && label !== "")
    .map(({ deviceId, label }) => ({ id: deviceId, label }));
}

/**
 * Why a share came without sound, so that the page can say what to do.
 * @param {MediaStreamTrack} video
 * @param {{agent?: string}} [browser]
 * @returns {"tab" | "window" | "screen" | "screenWindows" | "browser"} browser: it shares none at all
 */
export function silenceOf(video, { agent = navigator.userAgent } = {}) {
  if (!/Chrom(e|ium)\//.test(agent)) return "browser";
  const { displaySurface } = video.getSettings();
  if (displaySurface === "window") return "window";
  if (displaySurface !== "monitor") return "tab";
  // Elsewhere Chromium has no sound of a whole screen, or none before a recent system.
  return /Windows|CrOS/.test(agent) ? "screenWindows" : "screen";
}
