/**
 * What stands round the picture of a class: comments and people, what one may do with picture and
 * sound, how long the class runs and how the line does; and what the server is told of how watching was.
 */

import { countOf, slotsOf } from "../core/live.js";
import { Quality } from "../core/quality.js";
import { Reports } from "../core/reports.js";
import { Voice } from "../core/voice.js";
import { on } from "./dom.js";
import { Facts } from "./facts.js";
import { Side } from "./side.js";
import { Tools } from "./tools.js";

/** @typedef {import("../core/api.js").Link} Link */
/** @typedef {import("../core/session.js").State} State */

const LOOK_MS = 2000;

export class Classroom {
  #viewer;
  #player;
  #askedMs;
  #quality = new Quality();
  #voice = new Voice();
  #reports = new Reports(() => this.#quality);
  #side;
  #tools;
  /** Of the greeting: a picture that came later was not waited for by the network. @type {boolean | null} */
  #flowedAtFirst = null;
  #isTold = false;
  #looking;

  /**
   * Build it into the player's element; it goes with the player's session.
   * @param {import("./player.js").Player} player
   * @param {import("../core/whep.js").Viewer} viewer of the player
   * @param {Link} link
   * @param {{token: string, askedMs: number}} how of the link; when the class was asked for, on the page's
   *   clock
   */
  constructor(player, viewer, link, { token, askedMs }) {
    const { stage, video, view, sounds } = player.parts;
    this.#player = player;
    this.#viewer = viewer;
    this.#askedMs = askedMs;
    this.facts = new Facts(link, token);
    this.#side = new Side((message) => viewer.tell(message));
    this.#tools = new Tools(stage, video, view, sounds);
    stage.append(this.#tools.element);
    player.element.append(this.#side.element);
    on(viewer, "message", (message) => this.#onMessage(message));
    on(viewer, "state", (detail) => this.#onState(detail));
    on(player, "pictured", () => this.#tellFirstPicture());
    this.#tools.open();
    this.facts.open();
    this.#looking = setInterval(() => void this.#look(), LOOK_MS);
    this.#onState({ state: viewer.state, reason: "" });
    if (player.greeting !== null) this.#onMessage(player.greeting);
  }

  /** @param {Record<string, any>} message */
  #onMessage(message) {
    this.#side.take(message);
    const count = countOf(message);
    if (count !== null) this.facts.showCount(count);
    if (message.type !== "hello") return;
    this.#flowedAtFirst ??= slotsOf(message)?.video ?? false;
    this.#tellFirstPicture();
  }

  /** @param {{state: State, reason: string}} change */
  #onState({ state, reason }) {
    if (state === "connected") {
      this.#reports.open();
    } else if (state === "reconnecting") {
      this.#quality.forget();
    } else if (state === "closed") {
      this.#side.close();
      this.#tools.close();
      this.facts.close();
      clearInterval(this.#looking);
      this.#reports.close({ closing: reason === "pagehide" || reason === "left" });
    }
  }

  /** It was waited for only where the teacher was showing something, and while somebody looked. */
  #tellFirstPicture() {
    const until = this.#player.picturedMs;
    if (this.#isTold || until === null || this.#flowedAtFirst === null) return;
    this.#isTold = true;
    const hidden = performance
      .getEntriesByType("visibility-state")
      .some(({ name, startTime: at }) => name === "hidden" && at >= this.#askedMs && at <= until);
    if (this.#flowedAtFirst && !hidden) this.#reports.firstFrame(until - this.#askedMs);
  }

  /** Judge the line, and say so beside the picture where it is bad. */
  async #look() {
    if (this.#viewer.state !== "connected") {
      this.#quality.forget();
      return;
    }
    const pc = this.#viewer.connection;
    const report = await pc?.getStats();
    if (!pc || !report) return;
    this.#voice.note(pc, report);
    const reading = this.#quality.note(report);
    if (reading !== null) this.#player.showLine(this.facts.showLine(reading));
  }
}
