/**
 * The data channel `live`: msgpack maps with a `type`, from the node to the page.
 *
 * An unknown type or a message that is not one is dropped: a newer node may say more than this page
 * knows, and nothing that arrives may end the class for its viewer.
 */

/** @typedef {typeof import("../vendor/msgpack/decode.mjs")} Decoding */
/** @typedef {typeof import("../vendor/msgpack/encode.mjs")} Encoding */

export const LABEL = "live";
// The node's largest message is a greeting with the recent comments.
const MESSAGE_BYTES_MAX = 262144;
const ITEMS_MAX = 4096;

const LIMITS = {
  maxStrLength: MESSAGE_BYTES_MAX,
  maxBinLength: MESSAGE_BYTES_MAX,
  maxArrayLength: ITEMS_MAX,
  maxMapLength: ITEMS_MAX,
  maxExtLength: 0,
};

// First byte of a zlib stream with a window of 32 KiB (RFC 1950 section 2.2); no map begins so.
const ZLIB = 0x78;

/** @type {Promise<[Decoding, Encoding]> | undefined} */
let loading;

/** msgpack's 13 modules are fetched after the joining: nothing is said before that. */
const msgpack = () =>
  (loading ??= Promise.all([
    import("../vendor/msgpack/decode.mjs"),
    import("../vendor/msgpack/encode.mjs"),
  ]).catch((error) => {
    loading = undefined; // the network was gone: the next message asks again
    throw error;
  }));

/** Fetch what reads messages before the first one comes. */
export const readable = async () => void (await msgpack());

/**
 * @param {unknown} data of a message event
 * @returns {Promise<Record<string, any> | null>} a map with a `type`, or null for anything else
 */
export async function messageOf(data) {
  if (!(data instanceof ArrayBuffer) || data.byteLength > MESSAGE_BYTES_MAX) return null;
  try {
    const [{ decode }] = await msgpack();
    const bytes = new Uint8Array(data, 0, 1)[0] === ZLIB ? await inflated(data) : data;
    const value = /** @type {any} */ (decode(bytes, LIMITS));
    if (value === null || typeof value !== "object" || Array.isArray(value)) return null;
    return typeof value.type === "string" ? value : null;
  } catch {
    return null;
  }
}

/**
 * Unpack a long message; throws where it is none, or longer than any.
 * @param {ArrayBuffer} data
 * @returns {Promise<ArrayBuffer>}
 */
async function inflated(data) {
  const reader = new Blob([data])
    .stream()
    .pipeThrough(new DecompressionStream("deflate"))
    .getReader();
  /** @type {Uint8Array<ArrayBuffer>[]} */
  const parts = [];
  for (let length = 0; ; ) {
    const { done, value } = await reader.read();
    if (done) return new Blob(parts).arrayBuffer();
    length += value.byteLength;
    if (length > MESSAGE_BYTES_MAX) {
      void reader.cancel();
      throw new RangeError("a message is too long");
    }
    parts.push(value);
  }
}

/**
 * @param {Record<string, unknown>} message
 * @returns {Promise<Uint8Array<ArrayBuffer>>}
 */
export async function encoded(message) {
  const [, { encode }] = await msgpack();
  return encode(message);
}

/**
 * Which slots flow, of a greeting or of a change; null where the message does not say.
 * @param {Record<string, any>} message
 * @returns {Record<"video" | "mic" | "screen_audio", boolean> | null}
 */
export function slotsOf(message) {
  if (message.type === "slots") return /** @type {any} */ (message);
  return message.type === "hello" ? (message.slots ?? null) : null;
}

/**
 * Whether this browser cannot decode what the teacher's picture comes in; null where the message does
 * not say.
 * @param {Record<string, any>} message
 * @returns {boolean | null}
 */
export function isUnsupported(message) {
  const playback = message.type === "playback" ? message : message.playback;
  return playback ? playback.video === "codec_unsupported" : null;
}

/**
 * How many watch; null where the message does not say.
 * @param {Record<string, any>} message
 * @returns {number | null}
 */
export function countOf(message) {
  return typeof message.count === "number" ? message.count : null;
}

/**
 * Whether the teacher is connected; null where the message does not say.
 * @param {Record<string, any>} message
 * @returns {boolean | null}
 */
export function teacherOf(message) {
  if (message.type === "teacher") return message.here === true;
  return message.type === "hello" && "teacher" in message ? message.teacher === true : null;
}

/**
 * Open the channel on a connection; must be called before the offer is made.
 * @param {RTCPeerConnection} pc
 * @param {(message: Record<string, any>) => void} onMessage
 * @param {() => Promise<unknown>} hearing what arrives is read after this
 * @returns {{channel: RTCDataChannel, heard: () => Promise<void>}} heard: what has arrived by now was acted on
 */
export function openLive(pc, onMessage, hearing) {
  const channel = pc.createDataChannel(LABEL, { ordered: true });
  channel.binaryType = "arraybuffer";
  // One after the other: some take longer to unpack than what follows.
  let before = Promise.resolve();
  channel.addEventListener("message", ({ data }) => {
    const unpacking = hearing().then(() => messageOf(data));
    before = before.then(async () => {
      const message = await unpacking;
      if (message !== null) onMessage(message);
    });
  });
  return { channel, heard: () => before };
}
