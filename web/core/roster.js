/**
 * Who is in a class, as one page knows it: each person once.
 *
 * A class of up to 200 tells its changes by name, so a roster that was read once stays true; of a
 * larger one only pages can be asked for, and what was read is as old as its reading.
 */

/** @typedef {{id: string, name: string, here: boolean}} Person */

const PAGE_PEOPLE = 100;
// Beyond it everybody's changes are not told (docs/protocol.md).
export const NAMED_PEOPLE_MAX = 200;
// What a page keeps of a large class, however long somebody goes on asking.
const KEPT_MAX = 1000;

/** Fires `change` when `people`, `count` or `more` changed. */
export class Roster extends EventTarget {
  /** @type {Map<string, Person>} */
  #people = new Map();
  #ask;
  #wanted = false;
  /** The page that is on its way begins the roster anew. */
  #anew = true;
  /** @type {string | null} */
  #next = null;
  count = 0;

  /** @param {(message: Record<string, unknown>) => boolean} ask sends a message to the node */
  constructor(ask) {
    super();
    this.#ask = ask;
  }

  /** By name. @returns {Person[]} */
  get people() {
    return [...this.#people.values()].sort((a, b) => a.name.localeCompare(b.name));
  }

  /** Whether there are people who are not in `people`. */
  get more() {
    return this.#next !== null && this.#people.size < KEPT_MAX;
  }

  get isNamed() {
    return this.count <= NAMED_PEOPLE_MAX;
  }

  /** Read it from the beginning; from now on it is kept true as far as the class tells. */
  read() {
    this.#wanted = true;
    this.#anew = true;
    this.#ask({ type: "roster", after: null, limit: PAGE_PEOPLE });
  }

  /** Read the next page. */
  readMore() {
    if (this.#next !== null) this.#ask({ type: "roster", after: this.#next, limit: PAGE_PEOPLE });
  }

  /** Nobody looks at it any more. */
  forget() {
    this.#wanted = false;
  }

  /**
   * Take a message of the channel; others are left alone.
   * @param {Record<string, any>} message
   */
  take(message) {
    if (message.type === "hello" && this.#wanted) this.read();
    if (Number.isSafeInteger(message.count)) this.#setCount(message.count);
    if (message.type === "roster") this.#page(message);
    else if (message.type === "presence") this.#change(message);
  }

  /** @param {number} count */
  #setCount(count) {
    if (this.count === count) return;
    this.count = count;
    this.#changed();
  }

  /** @param {Record<string, any>} message */
  #page(message) {
    if (this.#anew) this.#people.clear();
    this.#anew = false;
    for (const one of listOf(message.people)) this.#put(one, one.state !== "away");
    this.#next = typeof message.next === "string" ? message.next : null;
    // Small enough to be known whole.
    if (this.#next !== null && this.isNamed && this.#people.size <= NAMED_PEOPLE_MAX) this.readMore();
    this.#changed();
  }

  /** @param {Record<string, any>} message */
  #change(message) {
    for (const one of [...listOf(message.joined), ...listOf(message.back)]) this.#put(one, true);
    for (const one of listOf(message.disconnected)) this.#put(one, false);
    for (const one of listOf(message.left)) this.#people.delete(one.id);
    this.#changed();
  }

  /**
   * @param {{id: string, name?: unknown}} one
   * @param {boolean} here
   */
  #put({ id, name }, here) {
    const known = this.#people.get(id);
    if (known === undefined && this.#people.size >= KEPT_MAX) return;
    const told = typeof name === "string" ? name : known?.name;
    if (told !== undefined) this.#people.set(id, { id, name: told, here });
  }

  #changed() {
    this.dispatchEvent(new CustomEvent("change"));
  }
}

/**
 * The people of a list, without what is none.
 * @param {unknown} value
 * @returns {any[]}
 */
const listOf = (value) =>
  Array.isArray(value) ? value.filter((one) => typeof one?.id === "string") : [];
