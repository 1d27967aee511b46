/** How long to wait before an attempt: grows, is bounded, and is never the same for two pages. */

const FIRST_MS = 250;
const WAIT_MS_MAX = 8000;
// About half an hour of attempts; then a person decides.
export const ATTEMPTS_MAX = 240;

/**
 * @param {number} attempt from 0
 * @param {() => number} random 0..1
 * @param {number | null} [retryAfterS] what the server asked for
 * @returns {number} milliseconds
 */
export function waitMs(attempt, random, retryAfterS = null) {
  const ceiling = Math.min(WAIT_MS_MAX, FIRST_MS * 2 ** Math.min(attempt, 10));
  const jittered = ceiling * (0.5 + random() / 2);
  // A whole class that was told the same second would come back in the same millisecond.
  return Math.max(jittered, (retryAfterS ?? 0) * 1000 * (1 + random() / 2));
}
