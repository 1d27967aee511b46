/** A share that its teacher keeps back for a while. */

/**
 * Whether the teacher has paused the picture; null where the message does not say.
 * @param {Record<string, any>} message
 * @returns {boolean | null}
 */
export function sharePausedOf(message) {
  const share = message.type === "share" ? message : message.type === "hello" && message.share;
  return share ? share.paused === true : null;
}
