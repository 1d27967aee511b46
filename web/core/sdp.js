/**
 * The two small edits that browsers offer no API for. Both touch one fmtp line of an Opus section
 * and leave every other byte alone.
 */

/**
 * Add Opus parameters (RFC 7587) to every Opus payload type of the chosen audio sections.
 *
 * @param {string} sdp
 * @param {string} parameters e.g. "stereo=1"
 * @param {(audioIndex: number) => boolean} [chosen] by the number of the audio section, from 0
 * @returns {string}
 */
export function withOpusParameters(sdp, parameters, chosen = () => true) {
  let audioIndex = -1;
  return sdp
    .split(/(?=^m=)/m)
    .map((section) => {
      if (!section.startsWith("m=audio")) return section;
      audioIndex += 1;
      return chosen(audioIndex) ? edited(section, parameters) : section;
    })
    .join("");
}

/**
 * @param {string} section
 * @param {string} parameters
 */
function edited(section, parameters) {
  let result = section;
  for (const [line, payloadType] of section.matchAll(/^a=rtpmap:(\d+) opus\/48000.*\r\n/gim)) {
    const fmtp = new RegExp(`^(a=fmtp:${payloadType} [^\\r\\n]*)`, "m");
    result = fmtp.test(result)
      ? result.replace(fmtp, `$1;${parameters}`)
      : result.replace(line, `${line}a=fmtp:${payloadType} ${parameters}\r\n`);
  }
  return result;
}

/**
 * Whether every candidate of an answer is a loopback address: a server that nobody else can reach.
 * @param {string} sdp
 */
export function hasOnlyLoopback(sdp) {
  const addresses = [...sdp.matchAll(/^a=candidate:\S+ \d+ \S+ \d+ (\S+) /gm)].map((m) => m[1]);
  return (
    addresses.length > 0 &&
    addresses.every((address) => address.startsWith("127.") || address === "::1")
  );
}
