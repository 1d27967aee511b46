/** Two connections inside one page, no server: what the tests' own reading is proved with. */

const near = new RTCPeerConnection();
const far = new RTCPeerConnection();
near.onicecandidate = ({ candidate }) => candidate && far.addIceCandidate(candidate);
far.onicecandidate = ({ candidate }) => candidate && near.addIceCandidate(candidate);
const sinks = ["video", "screen", "mic"];
let heard = 0;
far.ontrack = ({ track }) => {
  document.getElementById(sinks[heard++]).srcObject = new MediaStream([track]);
};

document.querySelector("#share").addEventListener("click", async () => {
  const screen = await navigator.mediaDevices.getDisplayMedia({
    video: true,
    audio: { echoCancellation: false },
  });
  const mic = await navigator.mediaDevices.getUserMedia({
    audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true },
  });
  near.addTrack(screen.getVideoTracks()[0]);
  near.addTrack(screen.getAudioTracks()[0]);
  near.addTrack(mic.getAudioTracks()[0]);
  await near.setLocalDescription();
  await far.setRemoteDescription(near.localDescription);
  await far.setLocalDescription();
  await near.setRemoteDescription(far.localDescription);
});
