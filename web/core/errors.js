/**
 * Errors that a page can say something about: one class, with the stable code of the contract.
 */

/** What went wrong between this page and the server, or in the browser, by a stable code. */
export class LecternError extends Error {
  /**
   * @param {string} code a code of the contract, or one of ours: `network`, `bad_answer`
   * @param {string} detail the server's own sentence, for the log
   * @param {{status?: number, extra?: Record<string, unknown>, retryAfterS?: number | null}} [more]
   */
  constructor(code, detail, { status = 0, extra = {}, retryAfterS = null } = {}) {
    super(`${code}: ${detail}`);
    this.name = "LecternError";
    this.code = code;
    this.detail = detail;
    this.status = status;
    this.extra = extra;
    this.retryAfterS = retryAfterS;
  }
}

/** Codes after which the same request can be made again by itself, later. */
const PASSING = new Set(["network", "rate_limited", "no_capacity", "try_again", "bad_answer"]);

/**
 * Whether to try again by itself.
 * @param {unknown} error
 */
export function isPassing(error) {
  if (!(error instanceof LecternError)) return false;
  return PASSING.has(error.code) || error.status >= 500;
}

/**
 * The code of any thrown thing; DOMExceptions of capture become codes of their own.
 * @param {unknown} error
 * @returns {string}
 */
export function codeOf(error) {
  if (error instanceof LecternError) return error.code;
  if (error instanceof DOMException) return `browser_${error.name}`;
  return "unexpected";
}
