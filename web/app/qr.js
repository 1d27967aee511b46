/** A text as a QR code, made in the page: a link's token goes to nobody for it. */

import { el } from "./dom.js";

const SPACE = "http://www.w3.org/2000/svg";
// Light modules round the code, without which scanners do not find it (ISO/IEC 18004, 6.3.8).
const QUIET_MODULES = 4;

/**
 * @param {string} text
 * @param {string} label what it is, for those who do not see it
 */
export async function qrPicture(text, label) {
  const { encodeQR } = await import("../vendor/qr/index.js");
  const modules = encodeQR(text, "raw", { ecc: "medium", border: QUIET_MODULES });
  const picture = document.createElementNS(SPACE, "svg");
  picture.setAttribute("viewBox", `0 0 ${modules.length} ${modules.length}`);
  picture.setAttribute("shape-rendering", "crispEdges");
  picture.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SPACE, "path");
  path.setAttribute("d", modules.map(rowPath).join(""));
  picture.append(path);
  return el("div", { class: "qr", role: "img", "aria-label": label }, picture);
}

/**
 * @param {boolean[]} row
 * @param {number} y
 */
function rowPath(row, y) {
  return row.map((dark, x) => (dark ? `M${x} ${y}h1v1h-1z` : "")).join("");
}
