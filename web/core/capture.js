/** Screen, screen sound and microphone, asked for in the way that keeps them whole. */

import { FRAME_RATE_MAX } from "./whip.js";
import { LecternError } from "./errors.js";

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

/** @returns {Promise<MediaStreamTrack>} */
export async function captureMic() {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new LecternError("no_capture", "getUserMedia is missing");
  }
  const stream = await navigator.mediaDevices.getUserMedia({
    audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true },
  });
  return stream.getAudioTracks()[0];
}
