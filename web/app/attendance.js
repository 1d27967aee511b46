/** Who attended a class: a picture of the whole, everybody in a table, and the file for a spreadsheet. */

import * as api from "../core/api.js";
import { codeOf } from "../core/errors.js";
import { clock, counted, duration, moment, sentence, t } from "../core/strings.js";
import { button, el, show } from "./dom.js";
import { status } from "./frame.js";
import { Table } from "./table.js";
import { personLine, timeline } from "./timeline.js";

/** @typedef {import("../core/api.js").Attendance} Attendance */
/** @typedef {import("../core/api.js").Class} Class */

// More people than that are for a spreadsheet: reading them all is fifty requests.
const PEOPLE_MAX = 10_000;

/** @param {Class} item */
export function attendancePanel(item) {
  const title = el("h2", { class: "panel__title" }, t("att.title"));
  if (item.state === "created") {
    return el("section", { class: "panel panel--wide" }, title, el("p", { class: "hint" }, t("att.notStarted")));
  }
  const panel = new Panel(item);
  return el(
    "section",
    { class: "panel panel--wide" },
    el("div", { class: "heading" }, title, panel.actions),
    panel.said,
    panel.picture,
    panel.table.element,
  );
}

class Panel {
  said = status();
  picture = el("div", {});
  /** @type {Table<Attendance>} */
  table;
  #item;
  #span;
  #refresh = button(t("att.refresh"), () => void this.#read());

  /** @param {Class} item */
  constructor(item) {
    this.#item = item;
    this.#span = spanOf(item);
    this.table = new Table({
      caption: t("att.title"),
      columns: this.#columns(),
      none: t("att.none"),
    });
    const csv = el(
      "a",
      { class: "button", href: api.attendanceCsvUrl(item.id), download: "" },
      t("att.csv"),
    );
    this.actions = el("div", { class: "part__actions" }, this.#refresh, csv);
    show(this.#refresh, item.state === "live");
    void this.#read();
  }

  /** @returns {import("./table.js").Column<Attendance>[]} */
  #columns() {
    return [
      {
        label: t("col.name"),
        kind: "title",
        cell: (person) => el("span", { dir: "auto" }, person.name),
        order: (a, b) => a.name.localeCompare(b.name),
      },
      {
        label: t("col.joined"),
        kind: "time",
        cell: (person) => time(person.joined_at),
        order: (a, b) => Date.parse(a.joined_at) - Date.parse(b.joined_at),
      },
      {
        label: t("col.left"),
        kind: "time",
        cell: (person) => (person.left_at === null ? t("col.stillHere") : end(person, person.left_at)),
        order: (a, b) => ended(a) - ended(b),
      },
      {
        label: t("col.stayed"),
        kind: "number",
        cell: (person) => stayed(person),
        order: (a, b) => a.duration_s - b.duration_s,
      },
      { label: t("col.when"), kind: "wide", cell: (person) => personLine(person, this.#span) },
    ];
  }

  async #read() {
    /** @type {Attendance[]} */
    const people = [];
    /** @type {string | null} */
    let next = null;
    this.#refresh.disabled = true;
    try {
      do {
        const page = /** @type {import("../core/api.js").Page<Attendance>} */ (
          await api.attendanceOf(this.#item.id, next)
        );
        people.push(...page.items);
        next = page.next;
        if (next !== null) this.said.textContent = t("att.reading", { count: people.length });
      } while (next !== null && people.length < PEOPLE_MAX);
      this.#show(people, next !== null);
    } catch (error) {
      this.said.textContent = sentence(codeOf(error));
    } finally {
      this.#refresh.disabled = false;
    }
  }

  /**
   * @param {Attendance[]} people
   * @param {boolean} cut
   */
  #show(people, cut) {
    this.#span = spanOf(this.#item);
    people.sort((a, b) => Date.parse(a.joined_at) - Date.parse(b.joined_at));
    this.said.textContent = cut
      ? t("att.cut", { count: people.length })
      : people.length > 0
        ? counted("att.people", people.length)
        : "";
    this.picture.replaceChildren(...(people.length > 0 ? [timeline(people, this.#span)] : []));
    this.table.fill(people);
  }
}

/** @param {Class} item */
function spanOf(item) {
  const from = Date.parse(item.started_at ?? item.created_at);
  return { from, to: item.ended_at ? Date.parse(item.ended_at) : Math.max(from, Date.now()) };
}

/** @param {Attendance} person */
const ended = (person) => (person.left_at === null ? Infinity : Date.parse(person.left_at));

/** @param {string} at */
function time(at) {
  return el("time", { dateTime: at, title: moment(at) }, clock(at));
}

/**
 * @param {Attendance} person
 * @param {string} at
 */
function end(person, at) {
  if (!person.estimated) return time(at);
  return el("span", { title: t("col.aboutHint") }, t("col.about", { value: clock(at) }));
}

/** @param {Attendance} person */
function stayed(person) {
  const times = person.segments.length;
  const many = times > 1 ? el("span", { class: "table__aside" }, t("att.stays", { count: times })) : null;
  return [duration(person.duration_s), many];
}
