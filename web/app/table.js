/** A table on wide screens, cards on narrow ones; sortable, and shown a bounded part at a time. */

import { t } from "../core/strings.js";
import { button, el, show } from "./dom.js";

/** @typedef {import("./dom.js").Child} Child */

/**
 * @template T
 * @typedef {{label: string, cell: (item: T) => Child | Child[], kind?: "title" | "time" | "number" | "wide" | "actions",
 *   order?: (a: T, b: T) => number}} Column
 *   `order` makes it sortable
 */

// More rows than this make a page slow to lay out; the rest comes when it is asked for.
const ROWS_SHOWN = 100;

/** @template T */
export class Table {
  #body = el("tbody");
  #more = button(t("dash.more"), () => void this.#showMore());
  /** @type {HTMLTableCellElement[]} */
  #heads = [];
  /** @type {T[]} */
  #items = [];
  #shown = 0;
  /** @type {{column: Column<T>, down: boolean} | null} */
  #sorted = null;
  #columns;
  #none;
  #ask;

  /**
   * @param {{caption: string, columns: Column<T>[], none: string, ask?: () => Promise<void>}} options
   *   `ask` fetches what follows; without it there is nothing more than was given
   */
  constructor({ caption, columns, none, ask }) {
    this.#columns = columns;
    this.#none = none;
    this.#ask = ask;
    this.#heads = columns.map((column) => this.#head(column));
    const table = el(
      "table",
      { class: "table" },
      el("caption", { class: "unseen" }, caption),
      el("thead", {}, el("tr", {}, ...this.#heads)),
      this.#body,
    );
    show(this.#more, false);
    this.element = el("div", { class: "sheet" }, table, this.#more);
  }

  /** @param {Column<T>} column */
  #head(column) {
    const properties = { scope: "col", class: `table__head table__head--${column.kind ?? "text"}` };
    if (!column.order) return el("th", properties, column.label);
    const sort = () => this.#sortBy(column);
    return el(
      "th",
      { ...properties, "aria-sort": "none" },
      el("button", { type: "button", class: "table__sort", onclick: sort }, column.label),
    );
  }

  /** @param {Column<T>} column */
  #sortBy(column) {
    const down = this.#sorted?.column === column && !this.#sorted.down;
    this.#sorted = { column, down };
    for (const [at, head] of this.#heads.entries()) {
      if (!this.#columns[at].order) continue;
      const chosen = this.#columns[at] === column;
      head.setAttribute("aria-sort", chosen ? (down ? "descending" : "ascending") : "none");
    }
    this.fill(this.#items);
  }

  /**
   * Show these instead of what was there.
   * @param {T[]} items
   * @param {boolean} [more] whether `ask` has more
   */
  fill(items, more = false) {
    this.#items = [...items];
    const order = this.#sorted?.column.order;
    if (order) this.#items.sort((a, b) => (this.#sorted?.down ? order(b, a) : order(a, b)));
    const shown = Math.max(ROWS_SHOWN, Math.min(this.#shown, this.#items.length));
    this.#body.replaceChildren();
    this.#shown = 0;
    this.#append(shown);
    if (this.#items.length === 0) this.say(this.#none);
    show(this.#more, more || this.#shown < this.#items.length);
  }

  /**
   * A sentence in place of rows.
   * @param {string} text
   */
  say(text) {
    const cell = el("td", { class: "table__none", colSpan: this.#columns.length }, text);
    this.#body.replaceChildren(el("tr", {}, cell));
    show(this.#more, false);
  }

  async #showMore() {
    if (this.#shown < this.#items.length) {
      this.#append(ROWS_SHOWN);
      show(this.#more, this.#ask !== undefined || this.#shown < this.#items.length);
      return;
    }
    this.#more.disabled = true;
    this.#shown += ROWS_SHOWN;
    await this.#ask?.();
    this.#more.disabled = false;
  }

  /** @param {number} count */
  #append(count) {
    const next = this.#items.slice(this.#shown, this.#shown + count);
    this.#body.append(...next.map((item) => this.#row(item)));
    this.#shown += next.length;
  }

  /** @param {T} item */
  #row(item) {
    return el(
      "tr",
      { class: "table__row" },
      ...this.#columns.map(({ label, cell, kind = "text" }) => {
        const content = cell(item);
        const children = Array.isArray(content) ? content : [content];
        const tag = kind === "title" ? "th" : "td";
        const scope = kind === "title" ? "row" : undefined;
        const properties = { class: `table__cell table__cell--${kind}`, "data-label": label, scope };
        return el(tag, properties, ...children);
      }),
    );
  }
}
