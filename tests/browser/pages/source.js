/** What a teacher shares in the tests: the picture code, moving, and a tone. */

import { COLOURS, COLUMNS, ROWS, TEXT, checksumOf, counterAt, textOf } from "./code.js";

const query = new URLSearchParams(location.search);
const colour = COLOURS[query.get("colour") ?? "red"];
const hertz = Number(query.get("hertz") ?? 880);
if (query.has("title")) document.title = query.get("title");
const canvas = document.querySelector("#picture");
const context = canvas.getContext("2d", { alpha: false });
const cell = { width: canvas.width / COLUMNS, height: canvas.height / ROWS };

/** Tests set these. */
globalThis.source = { frozen: false, counter: -1, tone: null };

function paint(index, style) {
  context.fillStyle = style;
  const x = (index % COLUMNS) * cell.width;
  const y = Math.floor(index / COLUMNS) * cell.height;
  context.fillRect(x, y, cell.width, cell.height);
}

// 10 pictures a second are enough to judge by, and leave the machine to what is tested.
const fps = Number(query.get("fps") ?? 10);
let picture = -1;

/** Two lines that scroll as code does, and one that has to be read: away from the middles of the cells. */
function write(counter) {
  context.fillStyle = "#ffffff";
  context.fillRect(0, TEXT.y - 20, canvas.width, 40);
  context.fillRect(0, 310, canvas.width, 50);
  context.fillStyle = "#000000";
  context.font = TEXT.font;
  [...textOf(counter)].forEach((glyph, at) => context.fillText(glyph, TEXT.x + at * TEXT.step, TEXT.y));
  const scrolled = "for (const packet of packets) { if (packet.isLost) repair(packet); }  ".repeat(4);
  context.fillText(scrolled, -((picture * 4) % 675), 328);
  context.fillText(scrolled, -((picture * 2) % 675), 350);
}

function draw() {
  const now = Date.now();
  const due = Math.floor((now * fps) / 1000);
  if (!globalThis.source.frozen && due !== picture) {
    picture = due;
    const counter = counterAt(now);
    globalThis.source.counter = counter;
    const bits = (counter << 8) | checksumOf(counter);
    for (let bit = 0; bit < 24; bit += 1) {
      paint(bit, (bits >>> (23 - bit)) & 1 ? "#ffffff" : "#000000");
    }
    for (let index = 24; index < 32; index += 1) paint(index, `rgb(${colour.join(" ")})`);
    if (query.has("text")) write(counter);
  }
  requestAnimationFrame(draw);
}

/** A click starts the tone: a page may not sound without one. */
document.addEventListener("click", () => {
  if (globalThis.source.tone !== null) return;
  const audio = new AudioContext();
  const gain = new GainNode(audio, { gain: 0.3 });
  const both = new ChannelMergerNode(audio, { numberOfInputs: 2 });
  [hertz, Number(query.get("right") ?? hertz)].forEach((frequency, side) => {
    const tone = new OscillatorNode(audio, { frequency });
    tone.connect(both, 0, side);
    tone.start();
  });
  both.connect(gain).connect(audio.destination);
  globalThis.source.tone = { audio, gain };
});

draw();
