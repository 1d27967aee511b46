/**
 * The small edits that browsers offer no API for, and what an ICE restart says instead of a whole
 * description (RFC 8840 section 9). They leave every other byte alone.
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

/**
 * What a PATCH says of a restarted offer: its credentials, with the section that stands for the bundle.
 * Candidates are left out: the server is ICE-lite and learns them from the checks.
 * @param {string} offer
 */
export function fragmentOf(offer) {
  const lines = ["a=ice-ufrag:", "a=ice-pwd:", "m=", "a=mid:"].map((start) =>
    offer.split("\r\n").find((line) => line.startsWith(start)),
  );
  return lines.map((line) => `${line}\r\n`).join("");
}

/**
 * The answer to an offer that restarted ICE: the answer before, with the fragment's credentials and
 * candidates in every section that has its own.
 * @param {string} answer
 * @param {string} fragment
 */
export function withRestart(answer, fragment) {
  const told = fragment.split(/\r?\n/);
  const candidates = told.filter((line) => line.startsWith("a=candidate:"));
  /** @param {string} start */
  const toldLine = (start) => told.find((line) => line.startsWith(start));
  return answer
    .split(/(?=^m=)/m)
    .map((section) => {
      let first = true;
      return section
        .split("\r\n")
        .flatMap((line) => {
          if (line.startsWith("a=ice-ufrag:")) return toldLine("a=ice-ufrag:") ?? line;
          if (line.startsWith("a=ice-pwd:")) return toldLine("a=ice-pwd:") ?? line;
          if (!line.startsWith("a=candidate:") || candidates.length === 0) return line;
          const shown = first ? candidates : [];
          first = false;
          return shown;
        })
        .join("\r\n");
    })
    .join("");
}
