/**
 * Waiting for a class to begin: the server tells (server-sent events), nobody asks again and again.
 *
 * A browser comes back by itself where the connection breaks, after the time that the server names;
 * where the server refuses the stream (it is full, or restarts), this asks anew.
 */

import { linkEventsUrl } from "./api.js";
import { waitMs } from "./backoff.js";

/** Events, all CustomEvent: `state` {state, joinAfterMs}; `gone`: the link is dead. */
export class Lobby extends EventTarget {
  #url;
  #attempts = 0;
  /** @type {EventSource | null} */
  #source = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #again;

  /** @param {string} token of the class link */
  constructor(token) {
    super();
    this.#url = linkEventsUrl(token);
  }

  open() {
    const source = new EventSource(this.#url);
    this.#source = source;
    source.addEventListener("state", ({ data }) => {
      this.#attempts = 0;
      const told = parsed(data);
      const joinAfterMs = Math.max(0, Number(told.join_after_ms) || 0);
      this.#emit("state", { state: told.state, joinAfterMs });
    });
    source.addEventListener("gone", () => {
      this.close();
      this.#emit("gone", {});
    });
    source.addEventListener("error", () => {
      if (source.readyState !== EventSource.CLOSED || this.#source !== source) return;
      this.#again = setTimeout(() => this.open(), waitMs(this.#attempts, Math.random));
      this.#attempts += 1;
    });
  }

  close() {
    clearTimeout(this.#again);
    this.#source?.close();
    this.#source = null;
  }

  /**
   * @param {string} type
   * @param {object} detail
   */
  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/**
 * @param {unknown} data
 * @returns {Record<string, unknown>}
 */
function parsed(data) {
  try {
    return JSON.parse(String(data)) ?? {};
  } catch {
    return {};
  }
}
