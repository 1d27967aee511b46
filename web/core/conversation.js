/**
 * What is said in a class, as one page knows it: comments in their order, each once, whatever a
 * reconnection repeats; and what became of one's own.
 */

/** @typedef {{id: number, at: number, from: {id: string, name: string, role: string}, text: string}} Comment */

const KEPT_MAX = 500;
const WAITING_MAX = 20;

/**
 * Events, all CustomEvent: `comments` {items} that are new, in order; `missed` {count};
 * `commenting` {paused}; `refused` {code, text, retryAfterMs}; `accepted` {text}.
 */
export class Conversation extends EventTarget {
  /** @type {Comment[]} */
  comments = [];
  paused = false;
  charsMax = 500;
  /** One's own that have no answer yet, by their reference. @type {Map<number, string>} */
  #waiting = new Map();
  #references = 0;

  /**
   * Take a message of the channel; others are left alone.
   * @param {Record<string, any>} message
   */
  take(message) {
    if (message.type === "hello" && isMap(message.comments)) this.#greet(message);
    else if (message.type === "comments") this.#add(message.items, Number(message.missed) || 0);
    else if (message.type === "commenting") this.#pause(message.paused === true);
    else if (message.type === "accepted") this.#answer("accepted", message);
    else if (message.type === "refused") this.#answer("refused", message);
  }

  /**
   * Make the message that says this; null while too many have no answer.
   * @param {string} text
   * @returns {Record<string, unknown> | null}
   */
  say(text) {
    if (this.#waiting.size >= WAITING_MAX) return null;
    this.#references += 1;
    this.#waiting.set(this.#references, text);
    return { type: "comment", ref: this.#references, text };
  }

  /**
   * The channel is gone: what had no answer may have arrived or not, and is given back.
   * @param {string[]} [arrived] texts that are known to have
   */
  interrupt(arrived = []) {
    const texts = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const text of texts) {
      const place = arrived.indexOf(text);
      if (place >= 0) this.#emit("accepted", { code: "", text: arrived.splice(place, 1)[0], retryAfterMs: 0 });
      else this.#emit("refused", { code: "interrupted", text, retryAfterMs: 0 });
    }
  }

  /** @param {Record<string, any>} hello that begins a channel: answers of the one before never come */
  #greet({ comments, you }) {
    this.charsMax = Number(comments.chars_max) || this.charsMax;
    this.#pause(comments.paused === true);
    const added = this.#add(comments.recent, 0);
    this.interrupt(added.filter(({ from }) => from.id === you?.id).map(({ text }) => text));
  }

  /**
   * @param {unknown} items
   * @param {number} missed
   * @returns {Comment[]} those that are new
   */
  #add(items, missed) {
    if (!Array.isArray(items)) return [];
    const newest = this.comments.at(-1)?.id ?? 0;
    const added = items.filter((item) => isComment(item) && item.id > newest);
    if (missed > 0) this.#emit("missed", { count: missed });
    if (added.length === 0) return [];
    this.comments = [...this.comments, ...added].slice(-KEPT_MAX);
    this.#emit("comments", { items: added });
    return added;
  }

  /** @param {boolean} paused */
  #pause(paused) {
    if (this.paused === paused) return;
    this.paused = paused;
    this.#emit("commenting", { paused });
  }

  /**
   * @param {"accepted" | "refused"} type
   * @param {Record<string, any>} message
   */
  #answer(type, message) {
    const text = this.#waiting.get(message.ref);
    if (text === undefined) return;
    this.#waiting.delete(message.ref);
    const retryAfterMs = Number(message.retry_after_ms) || 0;
    this.#emit(type, { code: String(message.code ?? ""), text, retryAfterMs });
  }

  /**
   * @param {string} type
   * @param {object} detail
   */
  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** @param {unknown} value */
const isMap = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** @param {any} item */
function isComment(item) {
  return (
    isMap(item) &&
    Number.isSafeInteger(item.id) &&
    typeof item.text === "string" &&
    isMap(item.from) &&
    typeof item.from.name === "string"
  );
}
