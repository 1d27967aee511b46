/** What a student may ask of the class while watching: how long it runs, whose it is, how the line does. */

import { linkOf } from "../core/api.js";
import { number, stopwatch, t } from "../core/strings.js";
import { el, show } from "./dom.js";

/** @typedef {import("../core/api.js").Link} Link */
/** @typedef {import("../core/quality.js").Reading} Reading */

const TICK_MS = 1000;

export class Facts {
  #token;
  /** When the class began, on this page's clock: the computer's own may be wrong. */
  #beganMs;
  #clock = el("span", { class: "facts-bar__clock", role: "timer", "aria-label": t("facts.running") });
  #sign = el("span", { class: "quality", "aria-hidden": "true", "data-verdict": "unknown" }, ...[1, 2, 3].map(() => el("i")));
  #summary = el("summary", { class: "button button--quiet" }, this.#sign, this.#clock);
  #line = el("p", { class: "facts-bar__line", role: "status" });
  #figures = el("p", { class: "facts-bar__figures" });
  #running = el("dd");
  #present = el("dd");
  #attendees = el("dd");
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #ticking;

  /**
   * @param {Link} link
   * @param {string} token of the link
   */
  constructor(link, token) {
    this.#token = token;
    this.#beganMs = performance.now() - 1000 * (link.duration_s ?? 0);
    this.#attendees.textContent = number(link.attendees);
    this.#present.textContent = number(link.present);
    this.element = el(
      "details",
      { class: "facts-bar", ontoggle: () => void this.#look() },
      this.#summary,
      el(
        "div",
        { class: "facts-bar__panel" },
        el("p", { class: "facts-bar__title", dir: "auto" }, link.title),
        el("p", { class: "facts-bar__by", dir: "auto" }, t("watch.with", { teacher: link.teacher_name })),
        el(
          "dl",
          { class: "facts facts-bar__facts" },
          fact(t("facts.running"), this.#running),
          fact(t("col.present"), this.#present),
          fact(t("col.attendees"), this.#attendees),
          fact(t("col.capacity"), el("dd", {}, number(link.capacity))),
        ),
        this.#line,
        this.#figures,
      ),
    );
    this.#say(t("quality.unknown"));
    show(this.#figures, false);
    this.#tick();
  }

  open() {
    this.#ticking = setInterval(() => this.#tick(), TICK_MS);
    addEventListener("pointerdown", this.#onElsewhere);
    addEventListener("keydown", this.#onKey);
  }

  close() {
    clearInterval(this.#ticking);
    removeEventListener("pointerdown", this.#onElsewhere);
    removeEventListener("keydown", this.#onKey);
  }

  /** @param {number} count */
  showCount(count) {
    this.#present.textContent = number(count);
  }

  /**
   * @param {Reading} reading
   * @returns {string} what a bad line is told beside the picture, empty where it is not bad
   */
  showLine(reading) {
    const { verdict, reason } = reading;
    const good = verdict === "good" || reason === "none";
    const said = good ? t("quality.good") : t(`quality.${verdict}.${reason}`);
    this.#sign.dataset.verdict = verdict;
    this.#say(said);
    this.#figures.textContent = figures(reading);
    show(this.#figures, true);
    return verdict === "bad" ? said : "";
  }

  /** @param {string} line how the connection does */
  #say(line) {
    // Said once where it changes: it is a live region.
    if (this.#line.textContent === line) return;
    this.#line.textContent = line;
    this.#summary.setAttribute("aria-label", `${t("facts.title")}. ${line}`);
    this.#summary.title = line;
  }

  #tick() {
    const seconds = (performance.now() - this.#beganMs) / 1000;
    this.#clock.textContent = this.#running.textContent = stopwatch(seconds);
  }

  /** Who has attended by now is asked when somebody wants to know. */
  async #look() {
    if (!this.element.open) return;
    try {
      const link = await linkOf(this.#token);
      this.#attendees.textContent = number(link.attendees);
    } catch {
      // What was known on joining stays; the link may have been replaced meanwhile.
    }
  }

  /** @param {Event} event */
  #onElsewhere = (event) => {
    if (!this.element.contains(/** @type {Node} */ (event.target))) this.element.open = false;
  };

  /** @param {KeyboardEvent} event */
  #onKey = (event) => {
    if (event.key !== "Escape" || !this.element.open) return;
    this.element.open = false;
    this.#summary.focus();
  };
}

/** @param {Reading} reading */
function figures({ width, height, framesPerS, bitsPerS, lost }) {
  const parts = width > 0 ? [`${width} × ${height}`, t("quality.frames", { frames: framesPerS })] : [];
  return [
    ...parts,
    t("quality.rate", { rate: (bitsPerS / 1e6).toFixed(1) }),
    t("quality.lost", { lost: (lost * 100).toFixed(lost > 0 && lost < 0.1 ? 1 : 0) }),
  ].join(" · ");
}

/**
 * @param {string} name
 * @param {HTMLElement} value
 */
const fact = (name, value) => el("div", { class: "fact" }, el("dt", {}, name), value);
