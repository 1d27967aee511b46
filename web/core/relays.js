/**
 * Relays (TURN servers) for networks that let nothing else through. The server says with its answer
 * whether there are any; a page asks for their credentials when the direct ways have not worked in
 * time, so that they cost a join nothing, and whoever needs no relay has no credentials.
 */

import { send } from "./api.js";

// Asked for anew this long before they end: a session begins with them and refreshes them itself.
const SPARE_MS = 10 * 60_000;

/** Of this page, once needed: where one connection needed a relay the next one does too. */
let known = { /** @type {RTCIceServer[]} */ servers: [], untilMs: 0 };

/** What the next connection uses from its beginning: empty until one has needed them. */
export const knownRelays = () => (performance.now() < known.untilMs ? known.servers : []);

/**
 * @param {string} url of the server's answer
 * @returns {Promise<RTCIceServer[]>} empty where there are none after all
 */
export async function relays(url) {
  if (knownRelays().length > 0) return known.servers;
  const response = await send(url, { headers: { Accept: "application/json" } });
  const { iceServers, ttl_s: ttlS } = await response.json();
  known = { servers: iceServers, untilMs: performance.now() + ttlS * 1000 - SPARE_MS };
  return known.servers;
}
