/** The page of those who run the server: nodes and live classes as they are now. */

import * as api from "../core/api.js";
import { codeOf } from "../core/errors.js";
import { clock, duration, moment, number, sentence, t } from "../core/strings.js";
import { button, el, show } from "./dom.js";
import { account, frame, notice, status } from "./frame.js";
import { fact, sentenceOf } from "./parts.js";
import { field, signCard } from "./sign_in.js";
import { Table } from "./table.js";

/** @typedef {import("../core/api.js").Deployment} Deployment */
/** @typedef {import("../core/api.js").LiveClass} LiveClass */
/** @typedef {import("../core/api.js").Node} MediaNode */
/** @typedef {import("../core/api.js").User} User */

// Nodes beat every 2 s; a person sees no more of them than this.
const RENEWED_MS = 5000;
const TITLE_CHARACTERS_MAX = 200;
const BITS_PER_MBIT = 1e6;

async function open() {
  try {
    const user = await api.me();
    if (user === null) return askToSignIn();
    render(user, await api.deployment());
  } catch (error) {
    const title = t("error.title");
    const back = el("a", { class: "button", href: "/dashboard" }, t("teach.back"));
    const text = sentence(codeOf(error));
    frame({ title, main: [notice({ title, text, tone: "bad", actions: [back] })] });
  }
}

function askToSignIn() {
  const card = signCard({ role: "teacher", onSigned: () => void open() });
  frame({ title: t("sign.in"), main: [el("div", { class: "centre" }, card)] });
}

/**
 * @param {User} user
 * @param {Deployment} first
 */
function render(user, first) {
  const sums = el("dl", { class: "facts box" });
  const said = status();
  const nodes = new Table({ caption: t("ops.nodes"), columns: nodeColumns(), none: t("ops.noNodes") });
  const classes = classesPanel();
  let at = first.at;

  /** @param {Deployment} seen */
  function fill(seen) {
    at = seen.at;
    sums.replaceChildren(
      fact(t("ops.nodes"), number(seen.totals.nodes)),
      fact(t("ops.classes"), number(seen.totals.classes)),
      fact(t("col.present"), number(seen.totals.present)),
      fact(t("ops.sessions"), number(seen.totals.sessions)),
      fact(t("ops.egress"), rate(seen.totals.egress_bps)),
    );
    nodes.fill(seen.nodes);
    classes.fill(seen.classes);
    said.textContent = t("ops.asOf", { time: clock(at) });
  }

  async function renew() {
    try {
      fill(await api.deployment());
    } catch (thrown) {
      said.textContent = t("ops.stale", { time: clock(at), why: sentenceOf(thrown) });
    }
  }

  frame({
    title: t("ops.title"),
    bar: [account(user)],
    main: [
      el(
        "section",
        { class: "panel panel--wide" },
        el("h1", { class: "panel__title" }, t("ops.title")),
        sums,
        said,
      ),
      el(
        "section",
        { class: "panel panel--wide" },
        el("h2", { class: "panel__title" }, t("ops.nodes")),
        nodes.element,
      ),
      classes.element,
    ],
    foot: true,
  });
  // Told once to who cannot see it, not every five seconds.
  said.setAttribute("aria-live", "off");
  fill(first);
  void repeat(renew);
}

/**
 * Again and again while somebody looks; never two at once.
 * @param {() => Promise<void>} act
 */
async function repeat(act) {
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, RENEWED_MS));
    if (document.visibilityState === "visible") await act();
  }
}

/** @returns {import("./table.js").Column<MediaNode>[]} */
function nodeColumns() {
  return [
    {
      label: t("ops.node"),
      kind: "title",
      cell: (node) => [
        el("span", {}, node.addresses.join(", ") || "–"),
        el("span", { class: "table__aside" }, node.id),
        el("span", { class: "table__aside" }, t("ops.up", { time: moment(node.registered_at) })),
      ],
    },
    {
      label: t("col.state"),
      cell: (node) => el("span", { class: `chip chip--${node.state}` }, t(`ops.state.${node.state}`)),
    },
    {
      label: t("ops.sessions"),
      kind: "number",
      cell: (node) => number(node.sessions),
      order: (a, b) => a.sessions - b.sessions,
    },
    {
      label: t("ops.nodeClasses"),
      kind: "number",
      cell: (node) => number(node.classes),
      order: (a, b) => a.classes - b.classes,
    },
    {
      label: t("ops.egress"),
      kind: "number",
      cell: (node) => rate(node.egress_bps),
      order: (a, b) => a.egress_bps - b.egress_bps,
    },
    {
      label: t("ops.cpu"),
      kind: "number",
      cell: (node) => t("ops.cores", { cores: rounded(node.cpu, 2) }),
      order: (a, b) => a.cpu - b.cpu,
    },
    {
      label: t("ops.lag"),
      kind: "number",
      cell: (node) => t("ops.ms", { ms: rounded(worst(node), 1) }),
      order: (a, b) => worst(a) - worst(b),
    },
    {
      label: t("ops.beat"),
      kind: "number",
      cell: (node) => t("ops.ago", { seconds: rounded(node.silent_s, 0) }),
      order: (a, b) => a.silent_s - b.silent_s,
    },
  ];
}

/**
 * The later one of Python's loop and the media thread.
 * @param {MediaNode} node
 */
const worst = (node) => Math.max(node.loop_lag_ms, node.native_lag_ms);

/** The fullest classes, or those that were searched for. */
function classesPanel() {
  const hint = el("p", { class: "hint", role: "status" });
  const error = el("p", { class: "form__error", role: "alert" });
  const table = new Table({ caption: t("ops.classes"), columns: classColumns(), none: t("ops.noClasses") });
  const found = new Table({ caption: t("ops.found"), columns: classColumns(), none: t("ops.notFound") });
  const back = button(t("ops.fullestAgain"), () => turn(false));
  const submit = el("button", { type: "submit", class: "button" }, t("ops.find"));
  const wanted = field("q", t("ops.search"), { maxLength: TITLE_CHARACTERS_MAX, autocomplete: "off" });
  const form = el(
    "form",
    { class: "form form--pair box", role: "search", "aria-label": t("ops.find") },
    wanted,
    el("div", { class: "part__actions" }, submit, back),
    error,
  );
  let count = 0;
  let searched = false;

  /** @param {boolean} toFound */
  function turn(toFound) {
    searched = toFound;
    show(table.element, !searched);
    show(found.element, searched);
    show(back, searched);
    if (!searched) hint.textContent = t("ops.fullest", { count });
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    submit.disabled = true;
    error.textContent = "";
    try {
      const text = String(new FormData(form).get("q")).trim();
      const { items, complete } = await api.findLiveClasses(text);
      found.fill(items);
      turn(true);
      hint.textContent = complete ? t("ops.foundAll", { count: items.length }) : t("ops.foundSome");
    } catch (thrown) {
      error.textContent = sentenceOf(thrown);
    } finally {
      submit.disabled = false;
    }
  });

  turn(false);
  return {
    element: el(
      "section",
      { class: "panel panel--wide" },
      el("h2", { class: "panel__title" }, t("ops.classes")),
      form,
      hint,
      table.element,
      found.element,
    ),
    /** @param {LiveClass[]} items */
    fill(items) {
      count = items.length;
      table.fill(items);
      turn(searched);
    },
  };
}

/** @returns {import("./table.js").Column<LiveClass>[]} */
function classColumns() {
  return [
    {
      label: t("col.title"),
      kind: "title",
      cell: (item) => [
        el("span", { dir: "auto" }, item.title),
        el("span", { class: "table__aside" }, item.id),
      ],
    },
    { label: t("col.teacher"), cell: (item) => el("span", { dir: "auto" }, item.teacher_name) },
    { label: t("ops.node"), kind: "wide", cell: (item) => item.node_id ?? t("ops.unplaced") },
    {
      label: t("col.present"),
      kind: "number",
      cell: (item) => t("ops.of", { present: item.present, capacity: item.capacity }),
      order: (a, b) => a.present - b.present,
    },
    { label: t("ops.since"), kind: "time", cell: (item) => moment(item.started_at) },
    {
      label: t("col.duration"),
      kind: "number",
      cell: (item) => duration(item.duration_s),
      order: (a, b) => a.duration_s - b.duration_s,
    },
  ];
}

/** @param {number} bitsPerS */
const rate = (bitsPerS) => t("quality.rate", { rate: rounded(bitsPerS / BITS_PER_MBIT, 1) });

/**
 * @param {number} value
 * @param {number} digits
 */
const rounded = (value, digits) => Number(value.toFixed(digits));

void open();
