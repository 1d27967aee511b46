/** The teacher's microphone: on or off, which one, and how loud it is; before a class and in it. */

import { captureMic, microphones } from "../core/capture.js";
import { codeOf } from "../core/errors.js";
import { sentence, t } from "../core/strings.js";
import { button, el, icon, show } from "./dom.js";
import { Meter } from "./meter.js";

// Of this browser, not of a class: a headset is plugged in for all of them.
const DEVICE_MEMORY = "lectern.mic";

/**
 * Fires `track` {track}: what is to be sent from now on, or null; and `say` {text, tone}: a sentence
 * about it, empty where all is well again.
 */
export class Mic extends EventTarget {
  /** @type {MediaStreamTrack | null} */
  track = null;
  #meter = new Meter();
  #toggle = button(t("teach.micOn"), () => void this.#flip(), { icon: "mic" });
  #device = el("select", {
    class: "field__input mic__device",
    name: "mic",
    "aria-label": t("teach.micDevice"),
    onchange: () => void this.#choose(),
  });

  element = el(
    "div",
    { class: "mic", role: "group", "aria-label": t("teach.mic") },
    this.#toggle,
    this.#device,
    this.#meter.element,
  );

  constructor() {
    super();
    // Headsets come and go in the middle of a class.
    navigator.mediaDevices?.addEventListener?.("devicechange", this.#onDevices);
    void this.#list();
    this.#show();
  }

  /**
   * @param {{asked: boolean}} how asked: by a click, so that a refusal is worth a sentence
   */
  async turnOn({ asked }) {
    this.#toggle.disabled = true;
    try {
      this.#take(await captureMic(localStorage.getItem(DEVICE_MEMORY) ?? ""));
      if (asked) this.#say("");
      await this.#list();
    } catch (error) {
      if (asked) this.#say(sentence(codeOf(error)), "bad");
    } finally {
      this.#toggle.disabled = false;
      this.#show();
    }
  }

  /** The device is let go, so that the browser's own sign of a listening page goes out too. */
  turnOff() {
    this.#take(null);
  }

  /** Let go of device and listeners, for good; nothing is fired. */
  close() {
    navigator.mediaDevices?.removeEventListener?.("devicechange", this.#onDevices);
    this.track?.stop();
    this.#meter.stop();
  }

  async #flip() {
    if (this.track === null) await this.turnOn({ asked: true });
    else this.turnOff();
  }

  /** Another one was chosen; while one is on, the next takes over without a gap in between. */
  async #choose() {
    localStorage.setItem(DEVICE_MEMORY, this.#device.value);
    if (this.track !== null) await this.turnOn({ asked: true });
  }

  /** @param {MediaStreamTrack | null} track */
  #take(track) {
    const before = this.track;
    this.track = track;
    track?.addEventListener("ended", () => {
      if (this.track !== track) return;
      this.turnOff();
      this.#say(t("teach.micEnded"), "bad");
    });
    this.dispatchEvent(new CustomEvent("track", { detail: { track } }));
    before?.stop();
    if (track === null) this.#meter.stop();
    else this.#meter.start(track);
    this.#show();
  }

  async #list() {
    const devices = await microphones();
    const chosen =
      this.track?.getSettings().deviceId ?? localStorage.getItem(DEVICE_MEMORY) ?? "";
    this.#device.replaceChildren(
      ...devices.map(({ id, label }) => el("option", { value: id }, label)),
    );
    if (devices.some(({ id }) => id === chosen)) this.#device.value = chosen;
    // One is no choice.
    show(this.#device, devices.length > 1);
  }

  #show() {
    const on = this.track !== null;
    /** @type {HTMLElement} */ (this.#toggle.lastElementChild).textContent = t(
      on ? "teach.micOff" : "teach.micOn",
    );
    this.#toggle.firstElementChild?.replaceWith(icon(on ? "mic-off" : "mic"));
    show(this.#meter.element, on);
  }

  /**
   * @param {string} text
   * @param {"calm" | "bad"} [tone]
   */
  #say(text, tone = "calm") {
    this.dispatchEvent(new CustomEvent("say", { detail: { text, tone } }));
  }

  #onDevices = () => void this.#list();
}
