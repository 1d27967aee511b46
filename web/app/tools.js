/** What a student does with picture and sound: two volumes, the size of the picture, keys for both. */

import { t } from "../core/strings.js";
import { button, el, icon, show } from "./dom.js";
import { Zoom } from "./zoom.js";

/** @typedef {"mic" | "screen_audio"} Sound */

// Of this browser: who turned a teacher down does so in every class.
const MEMORY = "lectern.volumes";

export class Tools {
  #stage;
  #video;
  #sounds;
  #zoom;
  #muted = false;
  #muteButton = button(t("tools.mute"), () => this.#toggleMute(), { kind: "quiet", icon: "sound" });
  #fill = button(t("tools.fill"), () => this.#toggleFill(), { kind: "quiet", icon: "fill" });
  #small = button(t("tools.pip"), () => void this.#toggleSmall(), { kind: "quiet", icon: "pip" });
  #full = button(t("tools.full"), () => void this.#toggleFull(), { kind: "quiet", icon: "full" });

  /**
   * @param {HTMLElement} stage
   * @param {HTMLVideoElement} video
   * @param {HTMLElement} view round the picture, to be enlarged
   * @param {Record<Sound, HTMLAudioElement>} sounds
   */
  constructor(stage, video, view, sounds) {
    this.#stage = stage;
    this.#video = video;
    this.#sounds = sounds;
    this.#zoom = new Zoom(stage, view);
    const kept = remembered();
    for (const [name, sound] of Object.entries(sounds)) sound.volume = kept[name] ?? 1;
    show(this.#small, document.pictureInPictureEnabled === true);
    show(this.#full, document.fullscreenEnabled === true);
    this.#fill.setAttribute("aria-pressed", "false");
    this.#muteButton.setAttribute("aria-pressed", "false");
    for (const one of [this.#muteButton, this.#zoom.in, this.#fill, this.#small, this.#full]) {
      one.title = one.textContent ?? "";
    }
    this.element = el(
      "div",
      { class: "tools", role: "toolbar", "aria-label": t("tools.label") },
      this.#muteButton,
      this.#volumes(),
      this.#zoom.reset,
      this.#zoom.in,
      this.#fill,
      this.#small,
      this.#full,
    );
  }

  /** Listen for keys until `close`. */
  open() {
    addEventListener("keydown", this.#onKey);
  }

  close() {
    removeEventListener("keydown", this.#onKey);
    this.#zoom.close();
  }

  #volumes() {
    return el(
      "details",
      { class: "tools__more", name: "tools" },
      el("summary", { class: "button button--quiet", title: t("tools.volumes") }, icon("sliders"), el("span", {}, t("tools.volumes"))),
      el("div", { class: "tools__panel" }, this.#slider("mic"), this.#slider("screen_audio")),
    );
  }

  /** @param {Sound} name */
  #slider(name) {
    const sound = this.#sounds[name];
    const input = el("input", {
      type: "range",
      min: "0",
      max: "1",
      step: "0.05",
      value: String(sound.volume),
      oninput: () => {
        sound.volume = Number(input.value);
        localStorage.setItem(MEMORY, JSON.stringify({ ...remembered(), [name]: sound.volume }));
      },
    });
    return el("label", { class: "tools__volume" }, el("span", {}, t(`tools.${name}`)), input);
  }

  #toggleMute() {
    this.#muted = !this.#muted;
    for (const sound of Object.values(this.#sounds)) sound.muted = this.#muted;
    this.#muteButton.setAttribute("aria-pressed", String(this.#muted));
    this.#muteButton.firstElementChild?.replaceWith(icon(this.#muted ? "muted" : "sound"));
  }

  #toggleFill() {
    const filled = this.#stage.classList.toggle("stage--filled");
    this.#fill.setAttribute("aria-pressed", String(filled));
  }

  async #toggleSmall() {
    try {
      if (document.pictureInPictureElement) await document.exitPictureInPicture();
      else await this.#video.requestPictureInPicture();
    } catch {
      // There is no picture yet, or the browser's own settings forbid it: nothing is lost.
    }
  }

  async #toggleFull() {
    try {
      if (document.fullscreenElement) await document.exitFullscreen();
      else await this.#stage.requestFullscreen();
    } catch {
      // As above.
    }
  }

  /** @param {KeyboardEvent} event */
  #onKey = (event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (target.closest("input, textarea, select, [contenteditable]") !== null) return;
    // Arrows belong to tabs, and to lists that scroll.
    const arrow = event.key.startsWith("Arrow");
    if (arrow && target.closest("[role=tablist], [role=log], .people__list") !== null) return;
    if (this.#zoom.press(event.key)) event.preventDefault();
    else if (event.key === "m") this.#toggleMute();
    else if (event.key === "f") void this.#toggleFull();
    else if (event.key === "z") this.#toggleFill();
    else if (event.key === "p") void this.#toggleSmall();
  };
}

/** @returns {Record<string, number>} volumes from 0 to 1 */
function remembered() {
  try {
    const kept = JSON.parse(localStorage.getItem(MEMORY) ?? "{}");
    return Object.fromEntries(
      Object.entries(kept).filter(([, volume]) => typeof volume === "number" && volume >= 0 && volume <= 1),
    );
  } catch {
    return {};
  }
}
