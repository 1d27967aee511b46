/**
 * Watches a student's page: each new picture with what its text says, and the browser's counters twice a
 * second. Put into the page by its text, beside the reader of the tests.
 */
globalThis.watched = (() => {
  const video = document.querySelector("video");
  const pictures = [];
  const counters = [];
  const TEXT_EVERY = 8;
  const LOOK_MS = 500;
  const KEPT_MAX = 6000;
  let last = -1;

  const note = () => {
    const seen = reader.picture(video);
    if (seen.counter !== undefined && seen.counter !== last && pictures.length < KEPT_MAX) {
      last = seen.counter;
      const one = { at_ms: Date.now(), age_ms: seen.age_ms };
      if (pictures.length % TEXT_EVERY === 0) one.right = reader.text(video).right;
      pictures.push(one);
    }
    video.requestVideoFrameCallback(note);
  };
  video.requestVideoFrameCallback(note);

  const look = async () => {
    const one = { at_ms: Date.now(), mids: {} };
    for (const entry of (await connections.at(-1).getStats()).values()) {
      if (entry.type !== "inbound-rtp") continue;
      if (entry.kind === "video") one.video = entry;
      else one.mids[entry.mid] = entry;
    }
    if (counters.length < KEPT_MAX) counters.push(one);
  };
  const looking = setInterval(() => void look(), LOOK_MS);
  const stop = async () => {
    clearInterval(looking);
    await look();
    return { pictures, counters };
  };
  return { look, stop };
})();
