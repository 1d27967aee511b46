/** Who is in the class, by name. */

import { Roster } from "../core/roster.js";
import { t } from "../core/strings.js";
import { button, el, show } from "./dom.js";

// Changes come up to ten times a second; a list of a thousand names is drawn less often.
const DRAW_MS = 250;

export class People {
  #roster;
  #you = "";
  #list = el("ul", { class: "people__list", tabIndex: 0, "aria-label": t("people.title") });
  #empty = el("p", { class: "people__empty" }, t("people.none"));
  #hint = el("p", { class: "people__hint" }, t("people.large"));
  #more = button(t("people.more"), () => this.#roster.readMore());
  #again = button(t("people.again"), () => this.#roster.read());
  #drawing = false;

  /** @param {(message: Record<string, unknown>) => boolean} send */
  constructor(send) {
    this.#roster = new Roster(send);
    this.#roster.addEventListener("change", () => this.#drawSoon());
    this.element = el(
      "section",
      { class: "people" },
      this.#hint,
      this.#empty,
      this.#list,
      el("div", { class: "people__actions" }, this.#more, this.#again),
    );
    this.#draw();
  }

  /** @param {Record<string, any>} message of the data channel */
  take(message) {
    if (message.type === "hello") this.#you = String(message.you?.id ?? "");
    this.#roster.take(message);
  }

  /** @param {boolean} shown only what is looked at is asked for */
  look(shown) {
    if (shown) this.#roster.read();
    else this.#roster.forget();
  }

  #drawSoon() {
    if (this.#drawing) return;
    this.#drawing = true;
    setTimeout(() => this.#draw(), DRAW_MS);
  }

  #draw() {
    this.#drawing = false;
    const { people, isNamed, more } = this.#roster;
    this.#list.replaceChildren(...people.map((person) => this.#entry(person)));
    show(this.#list, people.length > 0);
    show(this.#empty, people.length === 0);
    show(this.#hint, !isNamed);
    show(this.#more, more && !isNamed);
    show(this.#again, !isNamed);
  }

  /** @param {import("../core/roster.js").Person} person */
  #entry({ id, name, here }) {
    return el(
      "li",
      { class: here ? "person" : "person person--away", "data-state": here ? "here" : "away" },
      el("bdi", { class: "person__name" }, name),
      id === this.#you ? el("span", { class: "person__note" }, t("people.you")) : null,
      here ? null : el("span", { class: "person__note" }, t("people.away")),
    );
  }
}
