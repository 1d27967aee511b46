/** The student's page of one link: who are you, has it started, watch, and what went wrong. */

import { attended, linkOf, me } from "../core/api.js";
import { ATTEMPTS_MAX, waitMs } from "../core/backoff.js";
import { LecternError, codeOf } from "../core/errors.js";
import { readable } from "../core/live.js";
import { Lobby } from "../core/lobby.js";
import { counted, duration, sentence, t } from "../core/strings.js";
import { Viewer } from "../core/whep.js";
import { button, el } from "./dom.js";
import { account, chip, frame, notice } from "./frame.js";
import { Player } from "./player.js";
import { signCard } from "./sign_in.js";

/** @typedef {import("../core/api.js").Link} Link */
/** @typedef {import("../core/api.js").User} User */

const token = decodeURIComponent(location.pathname.split("/")[2] ?? "");

// Jittered, so that those who wait for a place do not ask as one.
const FULL_MS = 5000;

// An offer that was made ahead is used within this time: later, the network may be another one.
const READY_MS_MAX = 300_000;

/** @type {User | null} */
let user = null;
/** @type {{viewer: Viewer, at: number} | null} */
let ready = null;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let again;
/** @type {Lobby | null} */
let lobby = null;
let askedMs = 0;

/**
 * Look at the link and show what it leads to.
 * @param {number} [at] when it was asked for, on the page's clock
 */
async function open(at = performance.now()) {
  askedMs = at;
  stopWaiting();
  if (!("RTCPeerConnection" in globalThis)) return stopAt(null, t("error.title"), t("watch.noWebrtc"));
  // Asked first: making an offer keeps a browser busy while the answers are on their way.
  const asked = Promise.all([me(), linkOf(token)]);
  prepare();
  let link;
  try {
    [user, link] = await asked;
  } catch (error) {
    return refused(null, error);
  }
  if (link.state === "ended") ended(link);
  else if (user === null) askToSignIn(link);
  else if (link.state === "created") wait(link);
  else join(link);
}

/** Most who open a link come in: their offer is ready when it is known that they may. */
function prepare() {
  const now = performance.now();
  if (ready !== null && now - ready.at > READY_MS_MAX) {
    ready.viewer.discard();
    ready = null;
  }
  ready ??= { viewer: new Viewer(token), at: now };
  ready.viewer.prepare();
}

/**
 * @param {Link | null} link
 * @param {Array<Node | null>} content
 * @param {Array<Node | null>} [bar]
 */
function page(link, content, bar = []) {
  const title = link && [
    el(
      "div",
      { class: "bar__title" },
      el("h1", { class: "bar__name", dir: "auto" }, link.title),
      el("p", { class: "bar__by", dir: "auto" }, t("watch.with", { teacher: link.teacher_name })),
    ),
    chip(link.state),
  ];
  frame({ title: link?.title ?? t("app.name"), bar: [...(title ?? []), ...bar], main: content });
}

/**
 * @param {Link | null} link
 * @param {string} title
 * @param {string} text
 * @param {HTMLElement[]} [actions]
 */
function stopAt(link, title, text, actions = []) {
  page(link, [notice({ title, text, actions })], [user && account(user)]);
}

const retryButton = (label = t("watch.retry")) =>
  button(label, () => void open(), { kind: "primary" });

/** @param {Link} link */
function askToSignIn(link) {
  const onSigned = () => void open();
  page(link, [
    el("div", { class: "centre" }, signCard({ role: "student", lead: t("sign.asStudent"), onSigned })),
  ]);
}

function stopWaiting() {
  clearTimeout(again);
  lobby?.close();
  lobby = null;
}

/** @param {Link} link */
function wait(link) {
  stopWaiting();
  page(
    link,
    [notice({ title: t("watch.waiting"), text: t("watch.waitingHint"), busy: true })],
    [user && account(user)],
  );
  lobby = new Lobby(token);
  lobby.addEventListener("state", (event) => {
    const { state, joinAfterMs } = /** @type {CustomEvent} */ (event).detail;
    if (state === "created") return;
    clearTimeout(again);
    again = setTimeout(() => void open(), joinAfterMs);
  });
  lobby.addEventListener("gone", () => refused(null, new LecternError("link_invalid", "rotated")));
  lobby.open();
}

/** @param {Link} link */
function ended(link) {
  const dashboard = el("a", { class: "button", href: "/dashboard" }, t("nav.dashboard"));
  stopAt({ ...link, state: "ended" }, t("watch.ended"), t("watch.endedHint"), [dashboard]);
  if (user !== null) void tellOwnTime(link);
}

/**
 * Say how long one was there, below what is said already.
 * @param {Link} link
 */
async function tellOwnTime(link) {
  const said = document.querySelector(".notice__text");
  try {
    const { items } = await attended();
    const own = items.find((item) => item.class_id === link.class_id);
    if (own === undefined || said === null) return;
    const values = { own: duration(own.duration_s ?? 0), whole: duration(own.class_duration_s ?? 0) };
    said.after(el("p", { class: "notice__fact", role: "status" }, t("watch.ownTime", values)));
  } catch {
    // The page has said what matters; the time stands on the dashboard as well.
  }
}

/**
 * @param {Link} link
 * @param {{takeover?: boolean}} [options]
 */
function join(link, options = {}) {
  prepare();
  const { viewer } = /** @type {{viewer: Viewer}} */ (ready);
  ready = null;
  viewer.aim(link.class_id, options);
  const player = new Player(link, viewer);
  const leave = button(t("watch.leave"), () => player.close("left"), { icon: "leave", kind: "quiet" });
  const bar = el("div", { class: "bar__live" }, player.count, leave);
  player.addEventListener("closed", (event) => {
    const { reason, error } = /** @type {CustomEvent} */ (event).detail;
    refused(link, error ?? new LecternError(reason, reason));
  });
  viewer.hearing = surround(player, viewer, link, bar, { token, askedMs });
  void player.open();
  // Drawn when the offer is on its way.
  setTimeout(() => page(link, [player.element], [bar]));
}

/**
 * Fetch what stands round the picture once that is there, and build it.
 * @param {Player} player
 * @param {Viewer} viewer
 * @param {Link} link
 * @param {HTMLElement} bar
 * @param {{token: string, askedMs: number}} how
 */
async function surround(player, viewer, link, bar, how, attempt = 0) {
  await player.calm;
  const [fetched] = await Promise.allSettled([import("./classroom.js"), readable()]);
  if (viewer.state === "closed" || attempt === ATTEMPTS_MAX) return;
  if (fetched.status === "fulfilled") {
    const { Classroom } = fetched.value;
    bar.prepend(new Classroom(player, viewer, link, how).facts.element);
  } else {
    // The network is gone again; the picture may return before it is tried again.
    const again = () => surround(player, viewer, link, bar, how, attempt + 1);
    setTimeout(() => void again(), waitMs(attempt, Math.random));
  }
}

/**
 * What ended or prevented watching, and the way on.
 * @param {Link | null} link
 * @param {unknown} error
 */
function refused(link, error) {
  const code = codeOf(error);
  const state = link && PAGES[code];
  if (code === "link_invalid" || (code === "not_found" && link === null)) {
    stopAt(null, t("watch.dead"), t("watch.deadHint"));
  } else if (state) {
    state(link, error);
  } else {
    const detail = error instanceof LecternError ? error.detail : "";
    stopAt(link, t("error.title"), sentence(code, detail), [retryButton()]);
  }
}

/** @type {Record<string, (link: Link, error: unknown) => void>} */
const PAGES = {
  left: (link) => {
    stopAt(link, t("watch.left"), t("watch.leftHint"), [retryButton(t("watch.rejoin"))]);
    void tellOwnTime(link);
  },
  pagehide: () => {},
  class_ended: ended,
  class_not_live: (link) => wait({ ...link, state: "created" }),
  class_full: (link) => {
    const text = counted("watch.fullHint", link.capacity);
    const content = notice({ title: t("watch.full"), text, busy: true, actions: [retryButton()] });
    page(link, [content], [user && account(user)]);
    again = setTimeout(() => void open(), FULL_MS * (0.75 + Math.random() / 2));
  },
  own_class: (link) =>
    stopAt(link, t("watch.own"), t("watch.ownHint"), [
      el("a", { class: "button button--primary", href: `/teach/${link.class_id}` }, t("watch.ownOpen")),
    ]),
  active_elsewhere: (link, error) => {
    const { class_id: id, class_title, is_host: teaches } =
      error instanceof LecternError ? error.extra : {};
    const title = String(class_title ?? "");
    if (teaches) {
      const back = el("a", { class: "button button--primary", href: `/teach/${id}` }, t("watch.ownOpen"));
      return stopAt(link, t("watch.teaching"), t("watch.teachingHint", { title }), [back]);
    }
    const takeover = () => {
      askedMs = performance.now();
      join(link, { takeover: true });
    };
    stopAt(link, t("watch.elsewhere"), t("watch.elsewhereHint", { title }), [
      button(t("watch.takeover"), takeover, { kind: "primary" }),
    ]);
  },
  replaced: (link) =>
    stopAt(link, t("watch.replaced"), t("watch.replacedHint"), [retryButton(t("watch.takeBack"))]),
  not_signed_in: askToSignIn,
  unreachable: (link) =>
    stopAt(link, t("watch.unreachable"), t("watch.unreachableHint"), [retryButton()]),
};

addEventListener("pageshow", (event) => {
  // A page that comes out of the back-forward cache has a session that it left.
  if (event.persisted) location.reload();
});

// The page itself was what was asked for, from its navigation on.
void open(0);
