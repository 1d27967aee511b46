/**
 * One media session with the server, over WHIP or WHEP: joining, leaving, and coming back.
 *
 * A path that falls silent is tried in three ways, each when the one before has no more to give:
 *
 *   1. an ICE restart of the same session, for as long as the server cannot be asked;
 *   2. a new connection that continues the session, or takes its seat where it has ended;
 *   3. a new session by the link, where the seat is lost.
 *
 * The old connection stays until the server has answered a new one, and with it the last picture. If
 * its path speaks again first, it is kept.
 *
 * A class that moves to another node is no loss: the new connection is made beside the old one, and
 * takes over when it plays (`#move`). The states and who may follow whom:
 *
 *     idle -> connecting -> connected <-> reconnecting -> closed
 *
 * `closed` is final and has a reason: a code of the contract, `left`, `replaced` or `unreachable`.
 */

import { ATTEMPTS_MAX, waitMs } from "./backoff.js";
import { LecternError, codeOf, isPassing } from "./errors.js";
import { Path } from "./path.js";

/** @typedef {"idle" | "connecting" | "connected" | "reconnecting" | "closed"} State */

/** @type {Record<State, State[]>} */
const NEXT = {
  idle: ["connecting", "closed"],
  connecting: ["connected", "reconnecting", "closed"],
  connected: ["reconnecting", "closed"],
  reconnecting: ["connected", "closed"],
  closed: [],
};

const LOOK_MS = 150;
// A connection that was taken over from stays a moment: what is on its way still arrives.
const OVERLAP_MS = 2500;

/**
 * Events, all CustomEvent: `state` {state, reason, error}, `message` (of the data channel),
 * `blocked` {loopbackOnly}: the server answers, but no packet passes.
 */
export class MediaSession extends EventTarget {
  /** @type {State} */
  state = "idle";
  /** @type {Path | null} */
  #path = null;
  /** @type {Promise<Path> | null} */
  #prepared = null;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #watch;
  /** Ends a wait or a restart's request. @type {AbortController} */
  #hurried = new AbortController();
  #looping = false;
  /** A connection is being made beside the one in use. */
  #moving = false;
  /** What is told is read after this: a page may have more urgent things to do. @type {Promise<unknown>} */
  hearing = Promise.resolve();
  /** Proves that a later offer continues this session: it keeps its id and its attendance. */
  #resume = "";

  /**
   * @param {string} firstUrl where the first offer goes
   * @param {string} againUrl where every later one goes
   * @param {string} rejoinUrl where it goes when the place is lost
   */
  constructor(firstUrl, againUrl, rejoinUrl) {
    super();
    this.firstUrl = firstUrl;
    this.againUrl = againUrl;
    this.rejoinUrl = rejoinUrl;
  }

  /**
   * Add the sections; the data channel follows.
   * @param {RTCPeerConnection} _pc
   */
  buildSections(_pc) {
    throw new Error("a subclass adds its sections");
  }

  /** @param {string} sdp */
  editOffer(sdp) {
    return sdp;
  }

  /** @param {string} sdp */
  editAnswer(sdp) {
    return sdp;
  }

  /** Whether to leave by closing the connection, and to tell the server after it. */
  get closesFirst() {
    return false;
  }

  /** Whether what a new connection brings waits until it takes over. */
  get isMoving() {
    return this.#moving;
  }

  /**
   * Wait until a connection beside the one in use can take over.
   * @param {RTCPeerConnection} _pc
   */
  async ready(_pc) {}

  /**
   * Use this connection from now on.
   * @param {RTCPeerConnection} _pc
   */
  takeOver(_pc) {}

  /** Connect, and stay connected until `leave` or a final reason. Resolves at either outcome. */
  async open() {
    this.#set("connecting");
    this.#watch = setInterval(() => void this.#look(), LOOK_MS);
    await this.#connect(this.firstUrl);
  }

  /**
   * End the session here and on the server.
   * @param {"left" | "pagehide"} reason
   */
  leave(reason) {
    const path = this.#path;
    if (this.closesFirst) path?.close();
    this.#path = null;
    this.#finish(reason);
    // A student's connection that closes first looks like one that was lost.
    void path?.leave(reason).then(() => path.close());
  }

  /** Try again now: the network is back, or somebody asked. */
  hurry() {
    this.#hurried.abort();
    this.#hurried = new AbortController();
  }

  /**
   * Send a message on the data channel; false where it is not open. What is sent while the path is
   * silent arrives if the same session goes on.
   * @param {Record<string, unknown>} message
   */
  tell(message) {
    const path = this.#path;
    if (path === null || !path.isOpen) return false;
    void path.say(message);
    return true;
  }

  /** The connection in use, for statistics. */
  get connection() {
    return this.#path?.pc ?? null;
  }

  /**
   * Make the first offer now: it takes a browser as long as it takes to ask where to go.
   * What is not used by `open` is to be discarded.
   */
  prepare() {
    this.#prepared ??= this.#offer();
    // The attempt that uses it hears of it too.
    this.#prepared.catch(() => {});
  }

  discard() {
    const prepared = this.#prepared;
    this.#prepared = null;
    prepared?.then((path) => path.close()).catch(() => {});
  }

  /**
   * End for a reason that the server gave.
   * @param {string} reason
   * @param {unknown} [error]
   */
  #finish(reason, error) {
    if (this.state === "closed") return;
    clearInterval(this.#watch);
    this.#path?.close();
    this.#path = null;
    this.#set("closed", reason, error);
    this.hurry();
  }

  /**
   * @param {State} state
   * @param {string} [reason]
   * @param {unknown} [error]
   */
  #set(state, reason = "", error = null) {
    if (!NEXT[this.state].includes(state)) {
      throw new Error(`session: ${this.state} -> ${state} (${reason})`);
    }
    this.state = state;
    this.#emit("state", { state, reason, error });
  }

  /**
   * @param {string} type
   * @param {object} detail
   */
  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  /**
   * Make attempts until one connects, the old path revives, or a final answer comes.
   * @param {string} url of new offers
   * @param {Path | null} [lost] whose session may go on by an ICE restart
   */
  async #connect(url, lost = null) {
    if (this.#looping) return;
    this.#looping = true;
    try {
      for (let attempt = 0; attempt < ATTEMPTS_MAX && !this.#isClosed(); attempt += 1) {
        const error = lost === null ? await this.#attempt(url) : await this.#restart(lost);
        if (error === null || this.#isClosed()) return;
        const code = codeOf(error);
        if (lost !== null && code !== "network") {
          // Whatever the server said, or a way that stays silent: this session is over.
          lost = null;
          continue;
        }
        if (code === "not_found" && this.#resuming(url) !== url) {
          // The session has ended on the server; the seat may still be ours.
          this.#resume = "";
          continue;
        }
        if (code === "not_found" && url !== this.rejoinUrl) {
          // The seat's grace has run out: whoever still has the link may come in anew.
          url = this.rejoinUrl;
          continue;
        }
        if (!isPassing(error) && code !== "blocked") {
          this.#finish(code, error);
          return;
        }
        if (this.state === "connecting") this.#set("reconnecting", code, error);
        const retryAfterS = error instanceof LecternError ? error.retryAfterS : null;
        if (!this.#revived()) await this.#sleep(waitMs(attempt, Math.random, retryAfterS));
        if (this.#revived()) {
          this.#set("connected");
          return;
        }
      }
      this.#finish("unreachable");
    } finally {
      this.#looping = false;
    }
  }

  #isClosed() {
    return this.state === "closed";
  }

  #revived() {
    const path = this.#path;
    if (path === null || this.state !== "reconnecting") return false;
    return !path.silent && path.pc.connectionState === "connected" && path.isOpen;
  }

  /** @returns {Promise<Path>} */
  async #offer() {
    const pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    try {
      this.buildSections(pc);
      const path = new Path(pc, (from, message) => this.#hear(from, message), this);
      await path.offer();
      return path;
    } catch (error) {
      pc.close();
      throw error;
    }
  }

  /**
   * @param {Path} path
   * @returns {Promise<unknown>} null where the session goes on, else why not
   */
  async #restart(path) {
    try {
      await path.restart(this.#hurried.signal);
    } catch (error) {
      return error;
    }
    if (!this.#isClosed()) this.#set("connected");
    return null;
  }

  /**
   * @param {string} url
   * @returns {Promise<unknown>} null where it connected, else why not
   */
  async #attempt(url) {
    let path;
    try {
      path = await (this.#prepared ?? this.#offer());
    } catch (error) {
      return error;
    } finally {
      this.#prepared = null;
    }
    try {
      const resume = await path.post(this.#resuming(url));
      if (this.#isClosed()) {
        path.close();
        await path.leave("left");
        return null;
      }
      this.#resume = resume;
      // From the answer on the server knows the new session only: the old connection has no more use.
      this.#path?.close();
      this.#path = path;
      await path.connect();
      if (this.#isClosed()) return null;
      this.#follow(path);
      this.#set("connected");
      return null;
    } catch (error) {
      if (this.#path !== path) path.close();
      else if (codeOf(error) === "blocked") this.#emit("blocked", path);
      return error;
    }
  }

  /** @param {string} url */
  #resuming(url) {
    const continues = this.#resume !== "" && url === this.againUrl;
    return continues ? `${url}?resume=${encodeURIComponent(this.#resume)}` : url;
  }

  /**
   * Notice when a connected path is lost.
   * @param {Path} path
   */
  #follow(path) {
    const { pc, channel } = path;
    const lose = () => void path.heard().then(() => this.#lose(path));
    pc.addEventListener("connectionstatechange", () => {
      if (pc.connectionState !== "connected" && pc.connectionState !== "connecting") lose();
    });
    channel.addEventListener("close", lose);
  }

  /**
   * @param {Path} path
   * @param {{ended?: boolean}} [how] ended: there is nothing left to restart
   */
  #lose(path, { ended = false } = {}) {
    if (this.#path !== path || this.state !== "connected") return;
    this.#set("reconnecting", "lost");
    void this.#connect(this.againUrl, ended || !path.isOpen ? null : path);
  }

  async #look() {
    const path = this.#path;
    if (path === null || this.#moving) return;
    const wasSilent = path.silent;
    await path.look();
    if (this.#path !== path) return;
    if (path.silent) this.#lose(path);
    // It speaks again: what is being tried instead need not be waited for.
    else if (wasSilent) this.hurry();
  }

  /**
   * What ends or moves the session is acted on here; the page hears of every message.
   * @param {Path} path
   * @param {Record<string, any>} message
   */
  #hear(path, message) {
    if (this.#path !== path) return;
    if (message.type === "ping") void path.say({ type: "pong" });
    this.#emit("message", message);
    if (message.type === "ended") this.#finish("class_ended");
    // Final: two tabs that take the place from each other would never stop. But while this page is
    // reconnecting, the newer session is its own.
    else if (message.type === "replaced" && this.state === "connected") this.#finish("replaced");
    else if (message.type === "moved" && message.stays_ms > 0) void this.#move(path);
    else if (message.type === "moved") this.#lose(path, { ended: true });
  }

  /**
   * Go to another node: the old connection plays until the new one does. Where that fails, it is lost.
   * @param {Path} old
   */
  async #move(old) {
    if (this.state !== "connected" || this.#looping) return;
    this.#looping = this.#moving = true;
    let moved = false;
    try {
      moved = await this.#moveTo(await this.#offer());
    } catch {
      // The old one is still there, and what follows makes more attempts than one.
    } finally {
      this.#looping = this.#moving = false;
    }
    // The old one may have been lost meanwhile.
    const state = /** @type {State} */ (this.state);
    if (state === "closed") {
      old.close();
    } else if (moved) {
      setTimeout(() => old.close(), OVERLAP_MS);
      if (state === "reconnecting") this.#set("connected");
    } else {
      this.#path = old;
      if (state === "connected") this.#set("reconnecting", "lost");
      void this.#connect(this.againUrl);
    }
  }

  /**
   * @param {Path} path
   * @returns {Promise<boolean>} whether it is used now
   */
  async #moveTo(path) {
    try {
      const resume = await path.post(this.#resuming(this.againUrl));
      if (this.#isClosed()) {
        await path.leave("left");
        throw new LecternError("left", "somebody left while the class moved");
      }
      // Heard from now on: it greets, and the old one may be told that it was replaced.
      this.#path = path;
      this.#resume = resume;
      await path.connect();
      await this.ready(path.pc);
    } catch (error) {
      path.close();
      throw error;
    }
    if (this.#isClosed()) return false;
    this.#moving = false;
    this.takeOver(path.pc);
    this.#follow(path);
    return true;
  }

  /** @param {number} ms */
  async #sleep(ms) {
    const { signal } = this.#hurried;
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      signal.addEventListener("abort", () => {
        clearTimeout(timer);
        resolve(undefined);
      });
    });
  }
}
