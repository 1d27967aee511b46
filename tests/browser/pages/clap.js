/** A clapperboard: once a second the whole picture turns white and a tone sounds, at one instant. */

const CLAP_EVERY_S = 1;
const CLAP_S = 0.2;
const AHEAD_S = 0.3;
const canvas = document.querySelector("#picture");
const context = canvas.getContext("2d", { alpha: false });

/** Tests wait for this. */
globalThis.claps = 0;

/** A click starts it: a page may not sound without one. */
document.addEventListener(
  "click",
  () => {
    const audio = new AudioContext({ latencyHint: "interactive" });
    const gain = new GainNode(audio, { gain: 0 });
    const tone = new OscillatorNode(audio, { frequency: 1000 });
    tone.connect(gain).connect(audio.destination);
    tone.start();
    let whiteAt = Infinity; // on the clock of performance.now()
    setInterval(() => {
      const at = audio.currentTime + AHEAD_S;
      gain.gain.setValueAtTime(0.5, at);
      gain.gain.setValueAtTime(0, at + CLAP_S);
      // When that moment of the audio clock is heard, on the page's clock.
      const { contextTime, performanceTime } = audio.getOutputTimestamp();
      whiteAt = performanceTime + (at - contextTime) * 1000;
      globalThis.claps += 1;
    }, CLAP_EVERY_S * 1000);
    const draw = () => {
      const since = performance.now() - whiteAt;
      context.fillStyle = since >= 0 && since < CLAP_S * 1000 ? "#ffffff" : "#101010";
      context.fillRect(0, 0, canvas.width, canvas.height);
      requestAnimationFrame(draw);
    };
    draw();
  },
  { once: true },
);
