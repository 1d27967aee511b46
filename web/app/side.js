/** What stands beside the picture on both live pages: comments and people, one of them in sight. */

import { countOf } from "../core/live.js";
import { t } from "../core/strings.js";
import { Chat } from "./chat.js";
import { el, show } from "./dom.js";
import { People } from "./people.js";

/** @typedef {"comments" | "people"} Tab */

export class Side {
  #chat;
  #people;
  #unread = el("span", { class: "badge" });
  #count = el("span", { class: "side__count" });
  /** Leads to the comments where the whole side is out of sight. */
  #jump = el("button", { type: "button", class: "button button--primary side__jump" });
  /** @type {Record<Tab, HTMLButtonElement>} */
  #tabs;

  /**
   * @param {(message: Record<string, unknown>) => boolean} send false where nothing can be sent now
   * @param {{moderates?: boolean}} [options] moderates: may pause comments
   */
  constructor(send, options) {
    this.#chat = new Chat(send, options);
    this.#people = new People(send);
    this.#tabs = {
      comments: this.#tab("comments", t("chat.title"), this.#unread),
      people: this.#tab("people", t("people.title"), this.#count),
    };
    const panels = { comments: this.#chat.element, people: this.#people.element };
    for (const [name, panel] of Object.entries(panels)) {
      panel.id = `side-${name}`;
      panel.setAttribute("role", "tabpanel");
      panel.setAttribute("aria-labelledby", `tab-${name}`);
    }
    const bar = el(
      "div",
      { class: "side__tabs", role: "tablist", "aria-label": t("side.label"), onkeydown: this.#onKey },
      this.#tabs.comments,
      this.#tabs.people,
    );
    this.element = el(
      "aside",
      { class: "side", "aria-label": t("side.label") },
      bar,
      panels.comments,
      panels.people,
      this.#jump,
    );
    this.#jump.addEventListener("click", () => {
      this.#choose("comments");
      this.element.scrollIntoView({ block: "end" });
    });
    new IntersectionObserver(([...seen]) => {
      this.#jump.classList.toggle("side__jump--away", seen.at(-1)?.isIntersecting === false);
    }).observe(bar);
    this.#chat.addEventListener("unread", (event) =>
      this.#showUnread(/** @type {CustomEvent} */ (event).detail.count),
    );
    this.#showUnread(0);
    this.#choose("comments");
  }

  /** @param {Record<string, any>} message of the data channel */
  take(message) {
    this.#chat.take(message);
    this.#people.take(message);
    const count = countOf(message);
    if (count !== null) this.#count.textContent = String(count);
  }

  /** The connection is over. */
  close() {
    this.#chat.interrupt();
    this.#showUnread(0);
  }

  /**
   * @param {Tab} name
   * @param {string} label
   * @param {HTMLElement} more
   */
  #tab(name, label, more) {
    return el(
      "button",
      {
        type: "button",
        class: "side__tab",
        role: "tab",
        id: `tab-${name}`,
        "aria-controls": `side-${name}`,
        onclick: () => this.#choose(name),
      },
      el("span", {}, label),
      more,
    );
  }

  /** @param {Tab} chosen */
  #choose(chosen) {
    for (const [name, tab] of Object.entries(this.#tabs)) {
      const selected = name === chosen;
      tab.setAttribute("aria-selected", String(selected));
      tab.tabIndex = selected ? 0 : -1;
    }
    show(this.#chat.element, chosen === "comments");
    show(this.#people.element, chosen === "people");
    this.#people.look(chosen === "people");
  }

  /** @param {KeyboardEvent} event */
  #onKey = (event) => {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    const people = this.#tabs.people.getAttribute("aria-selected") === "true";
    const other = people ? "comments" : "people";
    this.#choose(other);
    this.#tabs[other].focus();
  };

  /** @param {number} count */
  #showUnread(count) {
    this.#unread.textContent = count > 0 ? String(count) : "";
    this.#unread.setAttribute("aria-label", count > 0 ? t("chat.newer", { count }) : "");
    show(this.#unread, count > 0);
    this.#jump.textContent = t("chat.newer", { count });
    show(this.#jump, count > 0);
    // A teacher who shares another tab sees this one's title only.
    const plain = document.title.replace(/^\(\d+\) /, "");
    document.title = count > 0 ? `(${count}) ${plain}` : plain;
  }
}
