/**
 * JSON over HTTP: every answer that is not 2xx becomes a LecternError with the problem's code.
 */

import { LecternError } from "./errors.js";

/**
 * @typedef {{id: string, email: string, name: string, role: "teacher" | "student",
 *   is_operator: boolean,
 *   active_class: {id: string, title: string, state: ClassState, is_host: boolean} | null}} User
 * @typedef {{id: string, client: string, created_at: string, used_at: string, expires_at: string,
 *   current: boolean}} Session
 * @typedef {{id: string, name: string, created_at: string, used_at: string | null}} Token
 * @typedef {"created" | "live" | "ended"} ClassState
 * @typedef {{id: string, title: string, capacity: number, state: ClassState, link: string,
 *   created_at: string, started_at: string | null, ended_at: string | null,
 *   duration_s: number | null, attendees: number, present: number}} Class
 * @typedef {{class_id: string, title: string, teacher_name: string, state: ClassState,
 *   attendees: number, present: number, capacity: number, started_at: string | null,
 *   duration_s: number | null}} Link
 * @typedef {{class_id: string, title: string, teacher_name: string, attendees: number,
 *   class_duration_s: number | null, joined_at: string, left_at: string | null,
 *   duration_s: number | null}} Attended
 * @typedef {{joined_at: string, left_at: string | null, reason: string | null,
 *   estimated: boolean}} Segment
 * @typedef {{user_id: string, class_id: string, name: string, joined_at: string,
 *   left_at: string | null, duration_s: number, estimated: boolean, segments: Segment[]}} Attendance
 * @typedef {{id: string, state: "serving" | "draining" | "unreachable" | "dead", addresses: string[],
 *   version: string, sessions: number, classes: number, egress_bps: number, cpu: number,
 *   loop_lag_ms: number, native_lag_ms: number, registered_at: string, beat_at: string,
 *   silent_s: number}} Node
 * @typedef {{id: string, title: string, teacher_name: string, node_id: string | null,
 *   present: number, capacity: number, started_at: string, duration_s: number}} LiveClass
 * @typedef {{at: string, totals: {nodes: number, sessions: number, egress_bps: number,
 *   classes: number, present: number}, nodes: Node[], classes: LiveClass[]}} Deployment
 */

/**
 * @template T
 * @typedef {{items: T[], next: string | null}} Page
 */

// A request that waits longer than this is on a path that is gone; the caller decides what next.
const REQUEST_MS_MAX = 8000;

/**
 * Fetch, and throw a LecternError for all that is not an answer of 2xx.
 * @param {string} url
 * @param {RequestInit} options
 * @returns {Promise<Response>}
 */
export async function send(url, options) {
  let response;
  try {
    response = await fetch(url, {
      credentials: "same-origin",
      signal: AbortSignal.timeout(REQUEST_MS_MAX),
      ...options,
    });
  } catch (cause) {
    throw new LecternError("network", String(cause));
  }
  if (response.ok) return response;
  throw await problemOf(response);
}

/**
 * Read problem+json (RFC 9457); an answer from something else (a proxy) gets a code by its status.
 * @param {Response} response
 * @returns {Promise<LecternError>}
 */
async function problemOf(response) {
  const retryAfterS = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
  const more = {
    status: response.status,
    retryAfterS: Number.isFinite(retryAfterS) ? retryAfterS : null,
  };
  try {
    const { code, detail, ...extra } = await response.json();
    if (typeof code === "string") return new LecternError(code, String(detail), { ...more, extra });
  } catch {
    // Not JSON: told by its status below.
  }
  const code = response.status >= 500 ? "try_again" : "bad_answer";
  return new LecternError(code, `HTTP ${response.status}`, more);
}

/**
 * @param {string} method
 * @param {string} path
 * @param {unknown} [body]
 * @returns {Promise<any>} the parsed JSON, or null for an answer without one
 */
async function call(method, path, body) {
  /** @type {RequestInit} */
  const options = { method, headers: { Accept: "application/json" } };
  if (body !== undefined) {
    options.headers = { ...options.headers, "Content-Type": "application/json" };
    options.body = JSON.stringify(body);
  }
  const response = await send(path, options);
  return response.status === 204 ? null : response.json();
}

// The most that the server puts on a page, and what a person looks at.
const PAGE_ITEMS_MAX = 200;
const LIST_ITEMS = 50;

/**
 * @param {string} path
 * @param {number} limit
 * @param {string | null} [cursor] `next` of the page before
 */
function paged(path, limit, cursor) {
  return `${path}?limit=${limit}${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`;
}

/** @param {string} value */
const segment = (value) => encodeURIComponent(value);

/** @param {{email: string, name: string, password: string, role: string}} account
 *  @returns {Promise<User>} */
export const signUp = (account) => call("POST", "/api/accounts", account);

/** @param {{email: string, password: string}} credentials
 *  @returns {Promise<User>} */
export const signIn = (credentials) => call("POST", "/api/session", credentials);

/** @returns {Promise<null>} */
export const signOut = () => call("DELETE", "/api/session");

/**
 * Who is signed in, or null.
 * @returns {Promise<User | null>}
 */
export const me = async () => (await call("GET", "/api/session")).user;

/** @param {{name?: string, role?: string, password?: string, current_password?: string}} change
 *  @returns {Promise<User>} */
export const changeMe = (change) => call("PATCH", "/api/me", change);

/** @returns {Promise<null>} */
export const deleteMe = () => call("DELETE", "/api/me");

/** Where everything that is kept of oneself is downloaded. */
export const EXPORT_URL = "/api/me/export";

/** @returns {Promise<Page<Session>>} */
export const sessions = () => call("GET", "/api/sessions?limit=200");

/** @param {string} id
 *  @returns {Promise<null>} */
export const endSession = (id) => call("DELETE", `/api/sessions/${segment(id)}`);

/** @returns {Promise<null>} */
export const endOtherSessions = () => call("DELETE", "/api/sessions");

/** @returns {Promise<Page<Token>>} */
export const tokens = () => call("GET", "/api/tokens?limit=200");

/** @param {string} name
 *  @returns {Promise<Token & {token: string}>} */
export const createToken = (name) => call("POST", "/api/tokens", { name });

/** @param {string} id
 *  @returns {Promise<null>} */
export const deleteToken = (id) => call("DELETE", `/api/tokens/${segment(id)}`);

/** @returns {Promise<any>} the OpenAPI document */
export const description = () => call("GET", "/api/openapi.json");

/** @param {{title: string, capacity: number}} wanted
 *  @returns {Promise<Class>} */
export const createClass = (wanted) => call("POST", "/api/classes", wanted);

/** @param {string | null} [cursor]
 *  @returns {Promise<Page<Class>>} */
export const ownClasses = (cursor) => call("GET", paged("/api/classes", LIST_ITEMS, cursor));

/** @param {string} id
 *  @returns {Promise<Class>} */
export const classOf = (id) => call("GET", `/api/classes/${segment(id)}`);

/** @param {string} id
 *  @returns {Promise<Class>} */
export const startClass = (id) => call("POST", `/api/classes/${segment(id)}/start`);

/** @param {string} id
 *  @returns {Promise<Class>} */
export const endClass = (id) => call("POST", `/api/classes/${segment(id)}/end`);

/** @param {string} token
 *  @returns {Promise<Link>} */
export const linkOf = (token) => call("GET", `/api/links/${segment(token)}`);

/** @param {string} id
 *  @param {{title?: string, capacity?: number}} change
 *  @returns {Promise<Class>} */
export const changeClass = (id, change) => call("PATCH", `/api/classes/${segment(id)}`, change);

/** @param {string} id
 *  @returns {Promise<Class>} */
export const reopenClass = (id) => call("POST", `/api/classes/${segment(id)}/reopen`);

/** @param {string} id
 *  @returns {Promise<Class>} with another link; the one before is dead */
export const rotateLink = (id) => call("POST", `/api/classes/${segment(id)}/link`);

/** @param {string} id
 *  @param {string | null} [cursor]
 *  @returns {Promise<Page<Attendance>>} */
export const attendanceOf = (id, cursor) =>
  call("GET", paged(`/api/classes/${segment(id)}/attendance`, PAGE_ITEMS_MAX, cursor));

/** Where a class's attendance is downloaded.
 *  @param {string} id */
export const attendanceCsvUrl = (id) => `/api/classes/${segment(id)}/attendance.csv`;

/** @param {string | null} [cursor]
 *  @returns {Promise<Page<Attended>>} */
export const attended = (cursor) => call("GET", paged("/api/attended", LIST_ITEMS, cursor));

/** @returns {Promise<Deployment>} for operators */
export const deployment = () => call("GET", "/api/operator");

/** @param {string} text an id, or a part of a title
 *  @returns {Promise<{items: LiveClass[], complete: boolean}>} for operators */
export const findLiveClasses = (text) => call("GET", `/api/operator/classes?q=${segment(text)}`);

/** @param {string} classId */
export const whipUrl = (classId) => `/live/classes/${segment(classId)}/whip`;

/** @param {string} token */
export const whepByLinkUrl = (token) => `/live/links/${segment(token)}/whep`;

/** @param {string} classId */
export const whepByClassUrl = (classId) => `/live/classes/${segment(classId)}/whep`;

/**
 * Where the state of a link's class is told as it changes.
 * @param {string} token
 */
export const linkEventsUrl = (token) => `/api/links/${segment(token)}/events`;
