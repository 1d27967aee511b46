/**
 * Looking closer: by wheel, pinch, double click or tap, dragging, and keys. What is enlarged is an
 * element round picture and last picture, so that both stay on one another.
 */

import { number, t } from "../core/strings.js";
import { WHOLE, kept, moved, zoomed } from "../core/view.js";
import { button, el, show } from "./dom.js";

/** @typedef {import("../core/view.js").Point} Point */

const STEP = 1.5;
const DOUBLE_STEP = 2.5;
// A notch of a mouse's wheel is 100 to 120; a pinch on a touchpad comes as a wheel of small steps.
const WHEEL = 0.002;
const PINCH_WHEEL = 0.01;
const WHEEL_LINE_PX = 40;
// An arrow key moves by a part of the stage.
const ARROW_PART = 0.15;
// Two taps this near in time and place are one double tap.
const TAP_MS_MAX = 350;
const TAP_PX_MAX = 30;

export class Zoom {
  #stage;
  #content;
  #view = WHOLE;
  /** @type {Map<number, Point>} */
  #touches = new Map();
  #tap = { at: 0, x: 0, y: 0 };
  /** It was a drag or a pinch: its end is no tap. */
  #dragged = false;
  #resize = new ResizeObserver(() => this.#set(kept(this.#view, this.#size)));

  in = button(t("tools.zoom"), () => this.#by(STEP), { kind: "quiet", icon: "zoom" });
  reset = el("button", { type: "button", class: "button button--quiet tools__zoom", onclick: () => this.#set(WHOLE) });

  /**
   * @param {HTMLElement} stage takes the gestures
   * @param {HTMLElement} content is enlarged
   */
  constructor(stage, content) {
    this.#stage = stage;
    this.#content = content;
    this.reset.title = t("tools.zoomReset");
    stage.addEventListener("wheel", this.#onWheel, { passive: false });
    // On the picture alone: what lies over it keeps its own clicks.
    content.addEventListener("pointerdown", this.#onDown);
    content.addEventListener("pointermove", this.#onMove);
    content.addEventListener("pointerup", this.#onUp);
    content.addEventListener("pointercancel", this.#onUp);
    this.#resize.observe(stage);
    this.#set(WHOLE);
  }

  close() {
    this.#resize.disconnect();
  }

  /**
   * @param {string} key
   * @returns {boolean} whether it means something here
   */
  press(key) {
    if (key === "+" || key === "=") this.#by(STEP);
    else if (key === "-") this.#by(1 / STEP);
    else if (key === "0") this.#set(WHOLE);
    else if (key in ARROWS && this.#view.scale > 1) {
      const { x, y } = ARROWS[key];
      const { width, height } = this.#size;
      this.#set(moved(this.#view, { x: x * width * ARROW_PART, y: y * height * ARROW_PART }, this.#size));
    } else return false;
    return true;
  }

  get #size() {
    return { width: this.#stage.clientWidth, height: this.#stage.clientHeight };
  }

  /**
   * @param {number} factor
   * @param {Point} [at]
   */
  #by(factor, at = { x: 0, y: 0 }) {
    this.#set(zoomed(this.#view, factor, at, this.#size));
  }

  /** @param {import("../core/view.js").View} view */
  #set(view) {
    this.#view = view;
    const { scale, x, y } = view;
    const close = scale > 1;
    this.#content.style.transform = close ? `translate(${x}px, ${y}px) scale(${scale})` : "";
    this.#stage.classList.toggle("stage--close", close);
    const percent = number(Math.round(scale * 100));
    this.reset.textContent = `${percent} %`;
    this.reset.setAttribute("aria-label", t("tools.zoomAt", { percent }));
    // What has the focus must not vanish under it.
    if (!close && document.activeElement === this.reset) this.in.focus();
    show(this.reset, close);
  }

  /** @param {MouseEvent} event */
  #pointOf({ clientX, clientY }) {
    const { left, top, width, height } = this.#stage.getBoundingClientRect();
    return { x: clientX - left - width / 2, y: clientY - top - height / 2 };
  }

  /** @param {WheelEvent} event */
  #onWheel = (event) => {
    const over = /** @type {HTMLElement} */ (event.target);
    if (over.closest(".tools__panel") !== null) return;
    event.preventDefault();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? WHEEL_LINE_PX : 1;
    const speed = event.ctrlKey ? PINCH_WHEEL : WHEEL;
    this.#by(Math.exp(-event.deltaY * lines * speed), this.#pointOf(event));
  };

  /** @param {PointerEvent} event */
  #onDown = (event) => {
    if (event.button !== 0) return;
    this.#content.setPointerCapture(event.pointerId);
    if (this.#touches.size === 0) this.#dragged = false;
    this.#touches.set(event.pointerId, this.#pointOf(event));
  };

  /** @param {PointerEvent} event */
  #onMove = (event) => {
    const before = this.#touches.get(event.pointerId);
    if (before === undefined) return;
    const now = this.#pointOf(event);
    const other = [...this.#touches].find(([id]) => id !== event.pointerId)?.[1];
    this.#touches.set(event.pointerId, now);
    if (other === undefined) {
      this.#dragged ||= distance(before, now) > 2;
      if (this.#view.scale > 1) {
        this.#set(moved(this.#view, { x: now.x - before.x, y: now.y - before.y }, this.#size));
      }
      return;
    }
    this.#dragged = true;
    const [was, is] = [middle(before, other), middle(now, other)];
    const factor = distance(now, other) / Math.max(1, distance(before, other));
    const turned = zoomed(this.#view, factor, is, this.#size);
    this.#set(moved(turned, { x: is.x - was.x, y: is.y - was.y }, this.#size));
  };

  /** @param {PointerEvent} event */
  #onUp = (event) => {
    if (!this.#touches.delete(event.pointerId) || event.type === "pointercancel") return;
    if (this.#dragged || this.#touches.size > 0) return;
    const { x, y } = this.#pointOf(event);
    const again =
      event.timeStamp - this.#tap.at < TAP_MS_MAX && distance(this.#tap, { x, y }) < TAP_PX_MAX;
    this.#tap = again ? { at: 0, x: 0, y: 0 } : { at: event.timeStamp, x, y };
    if (!again) return;
    if (this.#view.scale > 1) this.#set(WHOLE);
    else this.#by(DOUBLE_STEP, { x, y });
  };
}

/** Where the picture goes for an arrow: to see what lies to the right it goes left.
 *  @type {Record<string, Point>} */
const ARROWS = {
  ArrowLeft: { x: 1, y: 0 },
  ArrowRight: { x: -1, y: 0 },
  ArrowUp: { x: 0, y: 1 },
  ArrowDown: { x: 0, y: -1 },
};

/**
 * @param {Point} a
 * @param {Point} b
 */
const distance = (a, b) => Math.hypot(a.x - b.x, a.y - b.y);

/**
 * @param {Point} a
 * @param {Point} b
 */
const middle = (a, b) => ({ x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 });
