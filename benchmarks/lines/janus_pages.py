"""What pages of Janus' videoroom do: one offers screen and microphone, others answer what they are offered.

They ask for what Lectern's pages ask for: VP8 first, up to 4 Mbit/s, resolution before frames.
"""

from __future__ import annotations

import re

from benchmarks.registry import BenchmarkError

_GATHERED = """
const gathered = (pc) => new Promise((resolve) => {
  const look = () => pc.iceGatheringState === "complete" && resolve(pc.localDescription.sdp);
  pc.addEventListener("icegatheringstatechange", look);
  look();
});
"""
PUBLISH = (
    "async () => {"
    + _GATHERED
    + """
  const screen = await navigator.mediaDevices.getDisplayMedia({
    video: { frameRate: { ideal: 30, max: 30 } },
  });
  const voice = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
  const mic = await navigator.mediaDevices.getUserMedia({ audio: voice });
  const [track] = screen.getVideoTracks();
  track.contentHint = "detail";
  const pc = new RTCPeerConnection();
  const video = pc.addTransceiver(track, {
    direction: "sendonly",
    sendEncodings: [{ maxBitrate: 4_000_000, maxFramerate: 30 }],
  });
  const { codecs } = RTCRtpSender.getCapabilities("video");
  const isVp8 = ({ mimeType }) => mimeType === "video/VP8";
  video.setCodecPreferences([...codecs.filter(isVp8), ...codecs.filter((codec) => !isVp8(codec))]);
  pc.addTransceiver(mic.getAudioTracks()[0], { direction: "sendonly" });
  const parameters = video.sender.getParameters();
  parameters.degradationPreference = "maintain-resolution";
  await video.sender.setParameters(parameters);
  await pc.setLocalDescription();
  return gathered(pc);
}"""
)
TAKE_ANSWER = "sdp => connections[0].setRemoteDescription({ type: 'answer', sdp })"
SUBSCRIBE = (
    "async (sdp) => {"
    + _GATHERED
    + """
  const pc = new RTCPeerConnection();
  pc.addEventListener("track", ({ track }) => {
    // An element of its own for sound, as in Lectern's page.
    const element = track.kind === "video" ? document.querySelector("video") : new Audio();
    element.srcObject = new MediaStream([track]);
    void element.play();
  });
  await pc.setRemoteDescription({ type: "offer", sdp });
  await pc.setLocalDescription();
  return gathered(pc);
}"""
)


def found(pattern: str, text: str) -> str:
    """Return the first group; BenchmarkError where an SDP has no such line."""
    match = re.search(pattern, text)
    if match is None:
        raise BenchmarkError(f"An SDP has no {pattern}:\n{text}")
    return match[1]
