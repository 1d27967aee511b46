/** Pictures of who was there when: how many at once, and everybody's stays as lines. */

import { clock, counted, t } from "../core/strings.js";
import { el } from "./dom.js";

/** @typedef {import("../core/api.js").Attendance} Attendance */
/** @typedef {[from: number, to: number]} Stay milliseconds since 1970 */
/** @typedef {{from: number, to: number}} Span the class, in milliseconds since 1970 */

const SPACE = "http://www.w3.org/2000/svg";
// Units across a picture; it is stretched to the width that there is.
const ACROSS = 1000;
const COUNT_STEPS = 240;
const COUNT_HEIGHT = 100;
// A line per person while lines can be told apart; many thousands become a shade, in the same height.
const LINE_PX_MAX = 10;
const LINES_PX_MAX = 320;
const GAP_BELOW_PEOPLE = 120;

/**
 * @param {Attendance} person
 * @param {Span} span
 * @returns {Stay[]} within the class
 */
export function staysOf(person, { from, to }) {
  return person.segments.map(({ joined_at, left_at }) => [
    Math.max(from, Date.parse(joined_at)),
    Math.min(to, left_at === null ? to : Date.parse(left_at)),
  ]);
}

/**
 * How many were there in each step of the class, at most.
 * @param {Stay[]} stays
 * @param {Span} span
 */
export function counts(stays, { from, to }) {
  const step = Math.max(1, (to - from) / COUNT_STEPS);
  const changes = stays.flatMap(([begin, end]) => [
    { at: begin, by: 1 },
    { at: end, by: -1 },
  ]);
  // Who comes the moment another goes was there at the same time as nobody.
  changes.sort((a, b) => a.at - b.at || a.by - b.by);
  const most = new Array(COUNT_STEPS).fill(0);
  let count = 0;
  let next = 0;
  for (let at = 0; at < COUNT_STEPS; at += 1) {
    most[at] = count;
    const end = from + (at + 1) * step;
    for (; next < changes.length && changes[next].at < end; next += 1) {
      count += changes[next].by;
      most[at] = Math.max(most[at], count);
    }
  }
  return most;
}

/**
 * How many were there at once, at most.
 * @param {Attendance[]} people
 * @param {Span} span
 */
export const peakOf = (people, span) =>
  Math.max(0, ...counts(people.flatMap((person) => staysOf(person, span)), span));

/**
 * @param {Attendance[]} people
 * @param {Span} span
 */
export function timeline(people, span) {
  const stays = people.map((person) => staysOf(person, span));
  const most = counts(stays.flat(), span);
  const peak = Math.max(...most, 0);
  const [start, end] = [clock(span.from), clock(span.to)];
  const label = t("att.picture", {
    start,
    end,
    people: counted("att.people", people.length),
    peak: t("att.peak", { count: peak }),
  });
  return el(
    "figure",
    { class: "timeline" },
    el("p", { class: "timeline__peak" }, t("att.peak", { count: peak })),
    el(
      "div",
      { class: "timeline__picture", role: "img", "aria-label": label },
      svg("timeline__count", COUNT_HEIGHT, COUNT_HEIGHT, area(most, peak)),
      svg("timeline__lines", people.length, linesPx(people.length), lines(stays, span)),
    ),
    el(
      "figcaption",
      { class: "timeline__axis", "aria-hidden": "true" },
      el("span", {}, start),
      el("span", {}, clock((span.from + span.to) / 2)),
      el("span", {}, end),
    ),
  );
}

/**
 * One person's stays on the class's time line.
 * @param {Attendance} person
 * @param {Span} span
 */
export function personLine(person, span) {
  return svg("timeline__person", 1, LINE_PX_MAX, lines([staysOf(person, span)], span));
}

/** @param {number} people */
function linesPx(people) {
  return Math.min(LINES_PX_MAX, people * LINE_PX_MAX);
}

/**
 * @param {number[]} most
 * @param {number} peak
 */
function area(most, peak) {
  const wide = ACROSS / most.length;
  const points = most.map((count, at) => {
    const y = (COUNT_HEIGHT * (1 - count / Math.max(1, peak))).toFixed(1);
    return `L${(at * wide).toFixed(1)} ${y}h${wide.toFixed(2)}`;
  });
  return `M0 ${COUNT_HEIGHT}${points.join("")}V${COUNT_HEIGHT}z`;
}

/**
 * All lines as one path: thousands of elements would be slow, thousands of corners are not.
 * @param {Stay[][]} stays a line each
 * @param {Span} span
 */
function lines(stays, { from, to }) {
  const scale = ACROSS / Math.max(1, to - from);
  const high = stays.length < GAP_BELOW_PEOPLE ? 0.7 : 1;
  return stays
    .map((line, row) =>
      line
        .map(([begin, end]) => {
          const x = ((begin - from) * scale).toFixed(1);
          // A stay of seconds in a class of hours is still to be seen.
          const wide = Math.max(2, (end - begin) * scale).toFixed(1);
          return `M${x} ${(row + (1 - high) / 2).toFixed(2)}h${wide}v${high}h-${wide}z`;
        })
        .join(""),
    )
    .join("");
}

/**
 * @param {string} kind
 * @param {number} high units from top to bottom
 * @param {number} px height on the page
 * @param {string} d
 */
function svg(kind, high, px, d) {
  const picture = document.createElementNS(SPACE, "svg");
  picture.setAttribute("class", kind);
  picture.setAttribute("viewBox", `0 0 ${ACROSS} ${Math.max(1, high)}`);
  picture.setAttribute("preserveAspectRatio", "none");
  picture.setAttribute("height", String(Math.max(1, px)));
  picture.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SPACE, "path");
  path.setAttribute("d", d);
  picture.append(path);
  return picture;
}
