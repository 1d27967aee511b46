/**
 * The picture code: a counter that a decoder's blur cannot forge.
 *
 * A grid of 8 x 4 cells over the whole picture. Cells 0-15 are the counter's bits, 16-23 a checksum,
 * 24-31 one colour that names the source. A cell is 160 x 180 pixels at 720p and is read at its
 * middle, so that scaling and block noise do not matter.
 */
export const COLUMNS = 8;
export const ROWS = 4;
export const TICK_MS = 50;
export const COUNTER_MODULUS = 65536;
export const COLOURS = {
  red: [220, 40, 40],
  green: [40, 180, 60],
  blue: [40, 70, 220],
};

/** The counter that is on screen at a time of the machine's one clock. */
export const counterAt = (epochMs) => Math.floor(epochMs / TICK_MS) % COUNTER_MODULUS;

export const checksumOf = (counter) => ((counter >> 8) ^ (counter & 255) ^ 0xa5) & 255;

/** Where a line of text stands that is another for each counter, away from the middles of the cells. */
export const TEXT = { x: 16, y: 128, step: 14, length: 20, font: "16px monospace", glyphs: "0123456789ABCDEF" };

/** The text that stands there, by a linear congruence that has no pattern an encoder could use. */
export function textOf(counter) {
  let state = counter + 1;
  let text = "";
  for (let at = 0; at < TEXT.length; at += 1) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    text += TEXT.glyphs[state >>> 28];
  }
  return text;
}
