/** Sends a captured tab from this page to itself, in one codec and layering after the other. */
globalThis.encodings = (() => {
  const video = document.querySelector("video");
  let track = null;
  let pair = null;

  const capture = async () => {
    const stream = await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { ideal: 30, max: 30 } } });
    [track] = stream.getVideoTracks();
  };

  const connect = async ({ codec, mode, hint }) => {
    pair?.forEach((pc) => pc.close());
    track.contentHint = hint;
    pair = [new RTCPeerConnection(), new RTCPeerConnection()];
    const [from, to] = pair;
    from.onicecandidate = ({ candidate }) => void to.addIceCandidate(candidate);
    to.onicecandidate = ({ candidate }) => void from.addIceCandidate(candidate);
    to.ontrack = ({ track: received }) => {
      video.srcObject = new MediaStream([received]);
    };
    const encoding = { maxBitrate: 4_000_000, maxFramerate: 30 };
    if (mode !== "none") encoding.scalabilityMode = mode;
    const transceiver = from.addTransceiver(track, { direction: "sendonly", sendEncodings: [encoding] });
    const { codecs } = RTCRtpSender.getCapabilities("video");
    const wanted = ({ mimeType }) => mimeType === `video/${codec}`;
    transceiver.setCodecPreferences([...codecs.filter(wanted), ...codecs.filter((one) => !wanted(one))]);
    const parameters = transceiver.sender.getParameters();
    parameters.degradationPreference = "maintain-resolution";
    await transceiver.sender.setParameters(parameters);
    await from.setLocalDescription();
    await to.setRemoteDescription(from.localDescription);
    await to.setLocalDescription();
    await from.setRemoteDescription(to.localDescription);
  };

  const look = async () => {
    const seen = {};
    for (const [at, pc] of pair.entries()) {
      for (const entry of (await pc.getStats()).values()) {
        if (entry.type === "outbound-rtp" && at === 0) seen.sent = entry;
        if (entry.type === "codec" && at === 0) seen.codec = entry.mimeType.replace("video/", "");
        if (entry.type === "inbound-rtp" && at === 1) seen.received = entry;
      }
    }
    return { ...seen, text: reader.text(video) };
  };

  return { capture, connect, look };
})();
