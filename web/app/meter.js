/** A level meter for one audio track. */

import { t } from "../core/strings.js";
import { el } from "./dom.js";

const FLOOR_DB = -60;
// Falls slowly, so that speech does not flicker: about 1 s from full to nothing.
const FALL_PER_FRAME = 0.015;

export class Meter {
  element = el("meter", {
    class: "meter",
    min: 0,
    max: 1,
    high: 0.92,
    value: 0,
    "aria-label": t("teach.level"),
  });
  /** @type {AudioContext | null} */
  #context = null;
  #shown = 0;

  /** @param {MediaStreamTrack} track */
  start(track) {
    this.stop();
    const context = new AudioContext();
    const analyser = new AnalyserNode(context, { fftSize: 1024 });
    new MediaStreamAudioSourceNode(context, {
      mediaStream: new MediaStream([track]),
    }).connect(analyser);
    this.#context = context;
    const samples = new Float32Array(analyser.fftSize);
    const draw = () => {
      if (this.#context !== context) return;
      // After a reload the browser wants a click first; any click on the page will do.
      if (context.state === "suspended" && navigator.userActivation?.isActive) void context.resume();
      analyser.getFloatTimeDomainData(samples);
      const level = levelOf(samples);
      this.#shown = Math.max(level, this.#shown - FALL_PER_FRAME);
      this.element.value = this.#shown;
      requestAnimationFrame(draw);
    };
    draw();
  }

  stop() {
    void this.#context?.close();
    this.#context = null;
    this.#shown = this.element.value = 0;
  }
}

/**
 * @param {Float32Array} samples
 * @returns {number} 0..1, linear in decibels
 */
function levelOf(samples) {
  const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
  if (power === 0) return 0;
  const db = 10 * Math.log10(power);
  return Math.min(1, Math.max(0, 1 - db / FLOOR_DB));
}
