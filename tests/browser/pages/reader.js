/**
 * Reads what really arrived: the counter out of decoded pictures, the tone out of decoded sound.
 * Put into a page under test by its text, not as a module: the page's policy allows no other source.
 */
globalThis.reader = (() => {
  const COLUMNS = 8;
  const ROWS = 4;
  const TICK_MS = 50;
  const MODULUS = 65536;
  const COLOURS = { red: [220, 40, 40], green: [40, 180, 60], blue: [40, 70, 220] };
  const canvas = new OffscreenCanvas(COLUMNS * 20, ROWS * 20);
  const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });

  /** The picture of a video element: {counter, colour, age_ms}, or {problem}. */
  function picture(video) {
    if (!video || video.videoWidth === 0) return { problem: "no picture" };
    context.drawImage(video, 0, 0, canvas.width, canvas.height);
    const pixel = (index) => {
      const x = (index % COLUMNS) * 20 + 10;
      const y = Math.floor(index / COLUMNS) * 20 + 10;
      return [...context.getImageData(x, y, 1, 1).data.slice(0, 3)];
    };
    let bits = 0;
    for (let index = 0; index < 24; index += 1) {
      const [r, g, b] = pixel(index);
      const light = (r + g + b) / 3;
      if (light > 90 && light < 165) return { problem: `cell ${index} is grey (${light})` };
      bits = (bits << 1) | (light > 128 ? 1 : 0);
    }
    const counter = (bits >>> 8) & 0xffff;
    const checksum = ((counter >> 8) ^ (counter & 255) ^ 0xa5) & 255;
    if (checksum !== (bits & 255)) return { problem: "the checksum does not fit" };
    const now = Math.floor(Date.now() / TICK_MS) % MODULUS;
    const age = (now - counter + MODULUS) % MODULUS;
    return { counter, colour: nearest(pixel(27)), age_ms: age * TICK_MS };
  }

  const TEXT = { x: 16, y: 128, step: 14, length: 20, font: "16px monospace", glyphs: "0123456789ABCDEF" };
  const page = new OffscreenCanvas(TEXT.x + TEXT.step * TEXT.length, 24).getContext("2d", {
    alpha: false,
    willReadFrequently: true,
  });
  let shapes = null;

  /** What the line of text in the picture says, glyph by glyph the likeliest: {text, wanted, right}. */
  function text(video) {
    if (!video || video.videoWidth === 0) return { problem: "no picture" };
    // One picture for both: the next may come between two looks at the element.
    const still = new OffscreenCanvas(1280, 720);
    still.getContext("2d", { alpha: false }).drawImage(video, 0, 0, 1280, 720);
    const { counter, problem } = picture(Object.assign(still, { videoWidth: 1280 }));
    if (problem) return { problem };
    const { width, height } = page.canvas;
    shapes ??= [...TEXT.glyphs].map((glyph) => {
      page.fillStyle = "#ffffff";
      page.fillRect(0, 0, width, height);
      page.fillStyle = "#000000";
      page.font = TEXT.font;
      page.fillText(glyph, 0, 18);
      return lights(0);
    });
    page.drawImage(still, 0, TEXT.y - 18, width, height, 0, 0, width, height);
    let read = "";
    for (let at = 0; at < TEXT.length; at += 1) {
      const seen = lights(TEXT.x + at * TEXT.step);
      const away = shapes.map((shape) => shape.reduce((sum, light, i) => sum + (light - seen[i]) ** 2, 0));
      read += TEXT.glyphs[away.indexOf(Math.min(...away))];
    }
    let state = counter + 1;
    let wanted = "";
    for (let at = 0; at < TEXT.length; at += 1) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      wanted += TEXT.glyphs[state >>> 28];
    }
    const right = [...read].filter((glyph, at) => glyph === wanted[at]).length;
    return { text: read, wanted, right: right / TEXT.length };
  }

  function lights(x) {
    const { data } = page.getImageData(x, 0, TEXT.step, page.canvas.height);
    return Float32Array.from({ length: data.length / 4 }, (_, i) => data[4 * i + 1]);
  }

  function nearest(seen) {
    const distance = (name) =>
      COLOURS[name].reduce((sum, value, i) => sum + (value - seen[i]) ** 2, 0);
    return Object.keys(COLOURS).sort((a, b) => distance(a) - distance(b))[0];
  }

  const listeners = new Map();

  function listen(stream) {
    const track = stream.getAudioTracks()[0];
    if (!listeners.has(track)) {
      const audio = new AudioContext({ sampleRate: 48000 });
      const source = new MediaStreamAudioSourceNode(audio, { mediaStream: stream });
      const sides = new ChannelSplitterNode(audio, { numberOfOutputs: 2 });
      source.connect(sides);
      const analysers = [source, sides, sides].map((from, number) => {
        const analyser = new AnalyserNode(audio, { fftSize: 16384, smoothingTimeConstant: 0 });
        from.connect(analyser, Math.max(0, number - 1));
        return analyser;
      });
      listeners.set(track, { audio, analysers });
    }
    return listeners.get(track);
  }

  /** The strongest tone of an element's stream: {hertz, level_db}; silence is {problem}. Of both channels
   *  together, or of "left" or "right". */
  function tone(element, side = "both") {
    const stream = element?.srcObject ?? element;
    if (!stream || stream.getAudioTracks().length === 0) return { problem: "no track" };
    const { audio, analysers } = listen(stream);
    const analyser = analysers[["both", "left", "right"].indexOf(side)];
    if (audio.state !== "running") {
      void audio.resume();
      return { problem: `audio is ${audio.state}` };
    }
    const levels = new Float32Array(analyser.frequencyBinCount);
    analyser.getFloatFrequencyData(levels);
    let best = 1;
    for (let bin = 1; bin < levels.length; bin += 1) if (levels[bin] > levels[best]) best = bin;
    if (!(levels[best] > -70)) return { problem: "silence", level_db: levels[best] };
    return { hertz: (best * audio.sampleRate) / analyser.fftSize, level_db: levels[best] };
  }

  /** Follow a video: every picture that differs from the one before, with its time. */
  function follow(video, pictures = []) {
    const note = () => {
      const seen = picture(video);
      const last = pictures[pictures.length - 1];
      if (seen.counter !== undefined && seen.counter !== last?.counter) {
        pictures.push({ ...seen, at_ms: Date.now() });
        if (pictures.length > 4000) pictures.shift();
      }
      video.requestVideoFrameCallback(note);
    };
    note();
    return pictures;
  }

  return { picture, tone, follow, text };
})();
