/**
 * One media session with the server, over WHIP or WHEP: offer, answer, leave, and coming back.
 *
 * What does not change: the page's sections are made once per connection and never renegotiated, and
 * the server is ICE-lite with its candidates in the answer, so the offer is posted at once, without
 * waiting for this browser's own candidates.
 *
 * Coming back is make-before-break: while a path is silent a new session is asked for, and the old
 * connection stays until the new one has its answer. If the old path speaks again first, it is kept.
 * The states and who may follow whom:
 *
 *     idle -> connecting -> connected <-> reconnecting -> closed
 *
 * `closed` is final and has a reason: a code of the contract, `left`, `replaced` or `unreachable`.
 */

import { send } from "./api.js";
import { ATTEMPTS_MAX, waitMs } from "./backoff.js";
import { LecternError, codeOf, isPassing } from "./errors.js";
import { encoded, openLive } from "./live.js";
import { Liveness, receivedCount } from "./liveness.js";
import { hasOnlyLoopback } from "./sdp.js";

/** @typedef {"idle" | "connecting" | "connected" | "reconnecting" | "closed"} State */

/** @type {Record<State, State[]>} */
const NEXT = {
  idle: ["connecting", "closed"],
  connecting: ["connected", "reconnecting", "closed"],
  connected: ["reconnecting", "closed"],
  reconnecting: ["connected", "closed"],
  closed: [],
};

// Loopback takes 50 ms, a far phone a second: beyond this the path is blocked.
const CONNECT_MS_MAX = 6000;
const WATCH_MS = 250;

/**
 * One connection and what belongs to it.
 * @typedef {{pc: RTCPeerConnection, channel: RTCDataChannel, location: string,
 *   liveness: Liveness, silent: boolean, loopbackOnly: boolean}} Path
 */

/** @typedef {{pc: RTCPeerConnection, channel: RTCDataChannel, sdp: string}} Offered */

/**
 * Events, all CustomEvent: `state` {state, reason, error}, `message` (of the data channel),
 * `blocked` {loopbackOnly}: the server answers, but no packet passes.
 */
export class MediaSession extends EventTarget {
  /** @type {State} */
  state = "idle";
  /** @type {Path | null} */
  #path = null;
  /** @type {Promise<Offered> | null} */
  #prepared = null;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #watch;
  /** @type {() => void} */
  #wake = () => {};
  #looping = false;
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

  /** Whether a later offer may continue the session; a publisher's replaces it. */
  get resumes() {
    return false;
  }

  /** Connect, and stay connected until `leave` or a final reason. Resolves at either outcome. */
  async open() {
    this.#set("connecting");
    this.#watch = setInterval(() => void this.#look(), WATCH_MS);
    await this.#connect(this.firstUrl);
  }

  /**
   * End the session here and on the server.
   * @param {"left" | "pagehide"} reason
   */
  leave(reason) {
    const location = this.#path?.location;
    this.#finish(reason);
    if (location !== undefined) void remove(location, reason);
  }

  /** Try again now: the network is back, or somebody asked. */
  hurry() {
    this.#wake();
  }

  /**
   * Send a message on the data channel; false where it is not open.
   * @param {Record<string, unknown>} message
   */
  tell(message) {
    const channel = this.#path?.channel;
    if (channel === undefined || !isOpen(channel)) return false;
    void say(channel, message);
    return true;
  }

  /** The connection in use, for statistics. */
  get connection() {
    return this.#path?.pc ?? null;
  }

  /**
   * End for a reason that the server gave.
   * @param {string} reason
   * @param {unknown} [error]
   */
  #finish(reason, error) {
    if (this.state === "closed") return;
    clearInterval(this.#watch);
    this.#path?.pc.close();
    this.#path = null;
    this.#set("closed", reason, error);
    this.#wake();
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
   * @param {string} url
   */
  async #connect(url) {
    if (this.#looping) return;
    this.#looping = true;
    try {
      for (let attempt = 0; attempt < ATTEMPTS_MAX && !this.#isClosed(); attempt += 1) {
        const error = await this.#attempt(url);
        if (error === null || this.#isClosed()) return;
        if (codeOf(error) === "not_found" && this.#resuming(url) !== url) {
          // The session has ended on the server; the seat may still be ours.
          this.#resume = "";
          continue;
        }
        if (codeOf(error) === "not_found" && url !== this.rejoinUrl) {
          // The seat's grace has run out: whoever still has the link may come in anew.
          url = this.rejoinUrl;
          continue;
        }
        if (!isPassing(error) && codeOf(error) !== "blocked") {
          this.#finish(codeOf(error), error);
          return;
        }
        if (this.state === "connecting") this.#set("reconnecting", codeOf(error), error);
        const retryAfterS = error instanceof LecternError ? error.retryAfterS : null;
        await this.#sleep(waitMs(attempt, Math.random, retryAfterS));
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
    return !path.silent && path.pc.connectionState === "connected" && isOpen(path.channel);
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
    prepared?.then(({ pc }) => pc.close()).catch(() => {});
  }

  /** @returns {Promise<Offered>} */
  async #offer() {
    const pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    try {
      this.buildSections(pc);
      const channel = openLive(pc, (message) => this.#hear(pc, message));
      const offer = await pc.createOffer();
      const sdp = this.editOffer(offer.sdp ?? "");
      await pc.setLocalDescription({ type: "offer", sdp });
      return { pc, channel, sdp };
    } catch (error) {
      pc.close();
      throw error;
    }
  }

  /**
   * @param {string} url
   * @returns {Promise<unknown>} null where it connected, else why not
   */
  async #attempt(url) {
    let offered;
    try {
      offered = await (this.#prepared ?? this.#offer());
    } catch (error) {
      return error;
    } finally {
      this.#prepared = null;
    }
    const { pc, channel, sdp } = offered;
    try {
      const { location, answer, resume } = await post(this.#resuming(url), sdp);
      if (this.#isClosed()) {
        await remove(location, "left");
        return null;
      }
      this.#resume = resume;
      const loopbackOnly = hasOnlyLoopback(answer);
      this.#use({ pc, channel, location, liveness: new Liveness(), silent: false, loopbackOnly });
      await pc.setRemoteDescription({ type: "answer", sdp: this.editAnswer(answer) });
      await connected(pc);
      if (this.#isClosed()) return null;
      this.#follow(pc, channel);
      this.#set("connected");
      return null;
    } catch (error) {
      if (this.#path?.pc !== pc) pc.close();
      else if (codeOf(error) === "blocked") this.#emit("blocked", this.#path);
      return error;
    }
  }

  /** @param {string} url */
  #resuming(url) {
    const continues = this.resumes && this.#resume !== "" && url === this.againUrl;
    return continues ? `${url}?resume=${encodeURIComponent(this.#resume)}` : url;
  }

  /**
   * From the answer on the server knows the new session only: the old connection has no more use.
   * @param {Path} path
   */
  #use(path) {
    this.#path?.pc.close();
    this.#path = path;
  }

  /**
   * Notice when a connected path is lost.
   * @param {RTCPeerConnection} pc
   * @param {RTCDataChannel} channel
   */
  #follow(pc, channel) {
    pc.addEventListener("connectionstatechange", () => {
      if (pc.connectionState !== "connected" && pc.connectionState !== "connecting") {
        this.#lose(pc);
      }
    });
    channel.addEventListener("close", () => this.#lose(pc));
  }

  /** @param {RTCPeerConnection} pc */
  #lose(pc) {
    if (this.#path?.pc !== pc || this.state !== "connected") return;
    this.#set("reconnecting", "lost");
    void this.#connect(this.againUrl);
  }

  async #look() {
    const path = this.#path;
    if (path === null) return;
    const count = receivedCount(await path.pc.getStats());
    if (this.#path !== path) return;
    path.silent = path.liveness.note(performance.now(), count) === "silent";
    if (path.silent) this.#lose(path.pc);
  }

  /**
   * What ends or moves the session is acted on here; the page hears of every message.
   * @param {RTCPeerConnection} pc
   * @param {Record<string, any>} message
   */
  #hear(pc, message) {
    if (this.#path?.pc !== pc) return;
    if (message.type === "ping") void say(this.#path.channel, { type: "pong" });
    this.#emit("message", message);
    if (message.type === "ended") this.#finish("class_ended");
    // Final: two tabs that take the place from each other would never stop. But while this page is
    // reconnecting, the newer session is its own.
    else if (message.type === "replaced" && this.state === "connected") this.#finish("replaced");
    else if (message.type === "moved") this.#lose(pc);
  }

  /** @param {number} ms */
  async #sleep(ms) {
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve(undefined);
      };
    });
    this.#wake = () => {};
  }
}

/** @param {RTCDataChannel} channel */
const isOpen = (channel) => channel.readyState === "open";

/**
 * @param {string} url
 * @param {string} sdp
 */
async function post(url, sdp) {
  const response = await send(url, {
    method: "POST",
    headers: { "Content-Type": "application/sdp" },
    body: sdp,
  });
  const location = response.headers.get("Location");
  if (location === null) throw new LecternError("bad_answer", "no Location in the 201");
  return {
    location: new URL(location, response.url).href,
    resume: response.headers.get("Lectern-Resume") ?? "",
    answer: await response.text(),
  };
}

/**
 * Leave on the server. `keepalive` lets it go out from a page that is closing; a failure is of no
 * use to anybody then, and the server notices the silence.
 * @param {string} location
 * @param {string} reason
 */
async function remove(location, reason) {
  const url = new URL(location);
  if (reason !== "left") url.searchParams.set("reason", reason);
  try {
    await send(url.href, { method: "DELETE", keepalive: true });
  } catch {
    // Said above.
  }
}

/**
 * Send one message once msgpack is there; a channel that has closed meanwhile drops it.
 * @param {RTCDataChannel} channel
 * @param {Record<string, unknown>} message
 */
async function say(channel, message) {
  const bytes = await encoded(message);
  if (isOpen(channel)) channel.send(bytes);
}

/**
 * Wait until packets pass.
 * @param {RTCPeerConnection} pc
 * @returns {Promise<void>}
 */
function connected(pc) {
  return new Promise((resolve, reject) => {
    const blocked = () => reject(new LecternError("blocked", pc.connectionState));
    const timer = setTimeout(blocked, CONNECT_MS_MAX);
    const look = () => {
      if (pc.connectionState === "connected") {
        clearTimeout(timer);
        resolve();
      } else if (pc.connectionState === "failed" || pc.connectionState === "closed") {
        clearTimeout(timer);
        blocked();
      }
    };
    pc.addEventListener("connectionstatechange", look);
    // A connection that was closed by our own side fires no event.
    pc.addEventListener("signalingstatechange", look);
    look();
  });
}
