/**
 * What part of a picture is in sight: how often it is enlarged, and where it lies. All lengths are in
 * pixels of the stage, from its middle; the picture never leaves a gap at an edge that it could fill.
 */

/** @typedef {{scale: number, x: number, y: number}} View */
/** @typedef {{width: number, height: number}} Size */
/** @typedef {{x: number, y: number}} Point from the middle of the stage */

/** Small print of a large screen on a phone: 1920 across on 360 is a fifth. */
export const SCALE_MAX = 8;

/** @type {View} */
export const WHOLE = { scale: 1, x: 0, y: 0 };

/**
 * Enlarge so that what lies under a point stays under it.
 * @param {View} view
 * @param {number} factor
 * @param {Point} at
 * @param {Size} stage
 * @returns {View}
 */
export function zoomed(view, factor, at, stage) {
  const scale = Math.min(SCALE_MAX, Math.max(1, view.scale * factor));
  const by = scale / view.scale;
  return kept({ scale, x: at.x - (at.x - view.x) * by, y: at.y - (at.y - view.y) * by }, stage);
}

/**
 * @param {View} view
 * @param {Point} by
 * @param {Size} stage
 * @returns {View}
 */
export function moved(view, by, stage) {
  return kept({ ...view, x: view.x + by.x, y: view.y + by.y }, stage);
}

/**
 * Within the stage, also after it has become another size.
 * @param {View} view
 * @param {Size} stage
 * @returns {View}
 */
export function kept({ scale, x, y }, { width, height }) {
  const most = { x: (width * (scale - 1)) / 2, y: (height * (scale - 1)) / 2 };
  return { scale, x: clamped(x, most.x), y: clamped(y, most.y) };
}

/**
 * @param {number} value
 * @param {number} most
 */
const clamped = (value, most) => Math.min(most, Math.max(-most, value)) || 0;
