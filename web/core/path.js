/**
 * One connection to a node: made by an offer, given another way by an ICE restart, left by DELETE.
 *
 * The page's sections are made once per connection and never renegotiated, and the server is ICE-lite
 * with its candidates in the answer, so an offer is posted at once, without waiting for this browser's
 * own candidates.
 */

import { send } from "./api.js";
import { LecternError } from "./errors.js";
import { encoded, openLive } from "./live.js";
import { Liveness, Received } from "./liveness.js";
import { knownRelays, relays } from "./relays.js";
import { fragmentOf, hasOnlyLoopback, withRestart } from "./sdp.js";

// Loopback takes 50 ms, a far phone a second: beyond this the path is blocked.
const CONNECT_MS_MAX = 6000;
// The direct ways, UDP and then TCP, have taken less than this where they work at all: a relay is tried.
const DIRECT_MS_MAX = 2500;
// Of an ICE restart whose answer has come: two checks that are lost are sent again within it.
const RESTART_MS_MAX = 3000;
// A request that was sent into a network that is gone is no sign of its return: ask again soon.
const RESTART_REQUEST_MS_MAX = 2500;
// What reads messages may still be on its way, over a network that is gone.
const HEARD_MS_MAX = 1500;

/**
 * Edits what browsers have no call for, and says after what messages are read.
 * @typedef {{editOffer: (sdp: string) => string, editAnswer: (sdp: string) => string,
 *   hearing: Promise<unknown>}} Owner
 */

export class Path {
  /** The session resource, once the server has answered. */
  location = "";
  loopbackOnly = false;
  /** Nothing was received for too long. */
  silent = false;
  #answer = "";
  /** Where credentials of relays are, if the server has any. */
  #relaysUrl = "";
  #sdp = "";
  #owner;
  #liveness = new Liveness();
  #received = new Received();
  #heard;
  #looking = false;
  #arrived = 0;

  /**
   * @param {RTCPeerConnection} pc
   * @param {(path: Path, message: Record<string, any>) => void} onMessage
   * @param {Owner} owner
   */
  constructor(pc, onMessage, owner) {
    this.pc = pc;
    this.#owner = owner;
    const live = openLive(pc, (message) => onMessage(this, message), () => owner.hearing);
    this.channel = live.channel;
    this.#heard = live.heard;
  }

  /** Wait until what has arrived was acted on: a server says why before it closes. */
  async heard() {
    await Promise.race([
      this.#heard(),
      new Promise((resolve) => setTimeout(resolve, HEARD_MS_MAX)),
    ]);
  }

  get isOpen() {
    return this.channel.readyState === "open";
  }

  /** Make the offer. */
  async offer() {
    this.#use(knownRelays());
    this.#sdp = await this.#describe({});
  }

  /** @param {RTCIceServer[]} iceServers */
  #use(iceServers) {
    if (iceServers.length > 0) this.pc.setConfiguration({ ...this.pc.getConfiguration(), iceServers });
  }

  /** @param {RTCOfferOptions} options */
  async #describe(options) {
    const offer = await this.pc.createOffer(options);
    const sdp = this.#owner.editOffer(offer.sdp ?? "");
    await this.pc.setLocalDescription({ type: "offer", sdp });
    return sdp;
  }

  /**
   * Post the offer.
   * @param {string} url
   * @returns {Promise<string>} what continues the session later
   */
  async post(url) {
    const response = await send(url, {
      method: "POST",
      headers: { "Content-Type": "application/sdp" },
      body: this.#sdp,
    });
    const location = response.headers.get("Location");
    if (location === null) throw new LecternError("bad_answer", "no Location in the 201");
    this.location = new URL(location, response.url).href;
    const answer = await response.text();
    const relaysUrl = response.headers.get("Lectern-Ice-Servers");
    if (relaysUrl !== null) this.#relaysUrl = new URL(relaysUrl, response.url).href;
    this.loopbackOnly = hasOnlyLoopback(answer);
    this.#answer = this.#owner.editAnswer(answer);
    return response.headers.get("Lectern-Resume") ?? "";
  }

  /** Take the answer and wait until packets pass; throws `blocked` where none do. */
  async connect() {
    await this.pc.setRemoteDescription({ type: "answer", sdp: this.#answer });
    if (this.#relaysUrl !== "" && knownRelays().length === 0) {
      const isDirect = await connected(this.pc, DIRECT_MS_MAX).then(() => true, () => false);
      if (isDirect) return;
      // New servers are asked for candidates by a restart only.
      if (this.pc.signalingState !== "closed") await this.#relay();
    }
    await connected(this.pc, CONNECT_MS_MAX);
  }

  async #relay() {
    this.#use(await relays(this.#relaysUrl));
    await this.#renew(AbortSignal.timeout(RESTART_REQUEST_MS_MAX));
  }

  /**
   * Restart ICE (RFC 9725 section 4.3.3): DTLS, keys, streams and the data channel stay as they are,
   * over whatever way there is to the node now.
   *
   * The old way is listened to as long as the server has not answered, and the node takes both
   * credentials until the new ones are used, so a request that is lost costs nothing.
   * @param {AbortSignal} signal ends the request
   */
  async restart(signal) {
    await this.#renew(AbortSignal.any([signal, AbortSignal.timeout(RESTART_REQUEST_MS_MAX)]));
    const before = this.#arrived;
    const until = performance.now() + RESTART_MS_MAX;
    while (this.#arrived === before) {
      if (performance.now() > until || this.pc.connectionState === "closed") {
        throw new LecternError("blocked", "no packet after an ICE restart");
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /**
   * Exchange new credentials with the server.
   * @param {AbortSignal} signal
   */
  async #renew(signal) {
    const fragment = fragmentOf(await this.#describe({ iceRestart: true }));
    const response = await send(this.location, {
      method: "PATCH",
      headers: { "Content-Type": "application/trickle-ice-sdpfrag", "If-Match": "*" },
      body: fragment,
      signal,
    });
    const sdp = withRestart(this.#answer, await response.text());
    await this.pc.setRemoteDescription({ type: "answer", sdp });
  }

  /** See what has arrived; called some times a second. */
  async look() {
    // A report that takes longer than the time to the next look must not be judged twice.
    if (this.#looking) return;
    this.#looking = true;
    try {
      const now = performance.now();
      const count = this.#received.note(await this.pc.getStats());
      this.silent = this.#liveness.note(now, count) === "silent";
      this.#arrived = count;
    } finally {
      this.#looking = false;
    }
  }

  /**
   * Send a message once msgpack is there; a channel that has closed meanwhile drops it.
   * @param {Record<string, unknown>} message
   */
  async say(message) {
    const bytes = await encoded(message);
    if (this.isOpen) this.channel.send(bytes);
  }

  /**
   * Leave on the server; nothing is played from now on. `keepalive` lets it go out from a page that is closing; a failure is of no
   * use to anybody then, and the server notices the silence.
   * @param {string} reason
   */
  async leave(reason) {
    for (const { track } of this.pc.getReceivers()) track.stop();
    if (this.location === "") return;
    const url = new URL(this.location);
    if (reason !== "left") url.searchParams.set("reason", reason);
    try {
      await send(url.href, { method: "DELETE", keepalive: true });
    } catch {
      // Said above.
    }
  }

  close() {
    this.pc.close();
  }
}

/**
 * Wait until packets pass.
 * @param {RTCPeerConnection} pc
 * @param {number} msMax
 * @returns {Promise<void>}
 */
function connected(pc, msMax) {
  return new Promise((resolve, reject) => {
    const blocked = () => reject(new LecternError("blocked", pc.connectionState));
    const timer = setTimeout(blocked, msMax);
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
