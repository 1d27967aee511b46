"""An SDP answer written, from the offer's form and the node's decisions (RFC 8829, RFC 9143)."""

from __future__ import annotations

import ipaddress
import secrets

from signaling import sdp
from signaling.offer import AUDIO_CODECS, SIMULCAST_EXTENSIONS
from signaling.sdp import OfferedSection, ReadOffer
from wire.session import Answer, Candidate, Section

# A host's (RFC 8445 section 5.1.2.2). RFC 6544 section 4.2 lowers it for the transport that is not
# preferred; 90 is what Chromium gives its own TCP candidates.
UDP_TYPE_PREFERENCE = 126
TCP_TYPE_PREFERENCE = 90
PASSIVE_PREFERENCE = 4  # of active 6, passive 4, simultaneous-open 2

_MIRRORED = {"sendonly": "recvonly", "recvonly": "sendonly"}


def write_answer(read: ReadOffer, answer: Answer) -> str:
    """Return the SDP answer, every section of the offer in its place."""
    lines = [
        "v=0",
        f"o=- {secrets.randbits(62)} 1 IN IP4 0.0.0.0",
        "s=-",
        "t=0 0",
        "a=ice-lite",
        f"a=group:BUNDLE {' '.join(read.bundle)}",
        "a=msid-semantic: WMS *",
    ]
    if read.allow_mixed:
        lines.append("a=extmap-allow-mixed")
    for section in read.sections:
        if section.accepted:
            lines += _accepted(read, section, answer)
        else:
            lines += _rejected(section)
    return "\r\n".join(lines) + "\r\n"


def candidate_lines(candidates: tuple[Candidate, ...]) -> list[str]:
    """Return a=candidate lines of host candidates, most preferred first, and their end."""
    lines = []
    for index, candidate in enumerate(candidates):
        transport = candidate.transport
        suffix = " tcptype passive" if transport == "tcp" else ""
        address = ipaddress.ip_address(candidate.address)
        # No two have the same address and transport, so each has a foundation of its own.
        lines.append(
            f"a=candidate:{index + 1} 1 {transport} {_priority(candidate, index)} {address}"
            f" {candidate.port} typ host{suffix}"
        )
    lines.append("a=end-of-candidates")
    return lines


def _priority(candidate: Candidate, index: int) -> int:
    """Return a host candidate's priority (RFC 8445 section 5.1.2.1), its local preference by order."""
    if candidate.transport == "udp":
        return UDP_TYPE_PREFERENCE << 24 | (65535 - index) << 8 | 255
    # RFC 6544 section 4.2: 3 bits of direction, 13 of others.
    local_preference = PASSIVE_PREFERENCE << 13 | (8191 - index)
    return TCP_TYPE_PREFERENCE << 24 | local_preference << 8 | 255


def _rejected(section: OfferedSection) -> list[str]:
    lines = [
        f"m={section.kind} 0 {section.protocol} {section.formats}",
        "c=IN IP4 0.0.0.0",
        "a=inactive",
    ]
    if section.mid:
        lines.append(f"a=mid:{section.mid}")
    return lines


def _accepted(read: ReadOffer, section: OfferedSection, answer: Answer) -> list[str]:
    formats = section.formats
    if section.media:
        formats = " ".join(map(str, _payload_types(section.media)))
    # 9 is the discard port: the candidates say where to go (RFC 8840 section 4.1.1).
    lines = [f"m={section.kind} 9 {section.protocol} {formats}", "c=IN IP4 0.0.0.0"]
    if section.media:
        lines.append("a=rtcp:9 IN IP4 0.0.0.0")
    lines += [
        f"a=ice-ufrag:{answer.ice_ufrag}",
        f"a=ice-pwd:{answer.ice_pwd}",
    ]
    if read.trickle:
        lines.append("a=ice-options:trickle")
    lines += [
        f"a=fingerprint:{answer.fingerprint[0]} {answer.fingerprint[1]}",
        f"a=setup:{'passive' if answer.dtls_role == 'server' else 'active'}",
        f"a=mid:{section.mid}",
    ]
    if section.media:
        lines += _media(read, section, section.media, answer)
    else:
        lines += [
            f"a=sctp-port:{sdp.SCTP_PORT}",
            f"a=max-message-size:{sdp.DATA_MESSAGE_BYTES_MAX}",
        ]
    if section.mid == read.bundle[0]:
        lines += candidate_lines(answer.candidates)
    return lines


def _payload_types(media: Section) -> list[int]:
    numbers = []
    for codec in media.codecs:
        numbers.append(codec.payload_type)
        if codec.rtx_payload_type is not None:
            numbers.append(codec.rtx_payload_type)
    return numbers


def _media(read: ReadOffer, section: OfferedSection, media: Section, answer: Answer) -> list[str]:
    rids = answer.rids.get(media.mid, ())
    lines = []
    for uri, number in media.extensions.items():
        if uri in SIMULCAST_EXTENSIONS and not rids:
            continue
        direction = (section.extension_directions or {}).get(number, "sendrecv")
        suffix = f"/{_MIRRORED[direction]}" if direction in _MIRRORED else ""
        lines.append(f"a=extmap:{number}{suffix} {uri}")
    if section.allow_mixed:
        lines.append("a=extmap-allow-mixed")
    lines.append("a=recvonly" if read.role == "publisher" else "a=sendonly")
    lines.append("a=rtcp-mux")
    if section.rtcp_rsize:
        lines.append("a=rtcp-rsize")
    lines += _codec_lines(section, media)
    for rid in rids:
        lines.append(f"a=rid:{rid} recv")
    if rids:
        lines.append(f"a=simulcast:recv {';'.join(rids)}")
    return lines + _outgoing(media, answer)


def _codec_lines(section: OfferedSection, media: Section) -> list[str]:
    lines = []
    for codec in media.codecs:
        number = codec.payload_type
        # Browsers write "opus" in lower case and compare names without case (RFC 8866 6.6).
        name = codec.name.lower() if codec.name in AUDIO_CODECS else codec.name
        channels = f"/{codec.channels}" if codec.channels > 1 else ""
        lines.append(f"a=rtpmap:{number} {name}/{codec.clock_rate}{channels}")
        lines += [f"a=rtcp-fb:{number} {text}" for text in (section.feedback or {})[number]]
        if codec.fmtp:
            lines.append(f"a=fmtp:{number} {codec.fmtp}")
        if codec.rtx_payload_type is not None:
            lines.append(f"a=rtpmap:{codec.rtx_payload_type} rtx/{codec.clock_rate}")
            lines.append(f"a=fmtp:{codec.rtx_payload_type} apt={number}")
    return lines


def _outgoing(media: Section, answer: Answer) -> list[str]:
    out = answer.outgoing.get(media.mid)
    if out is None:
        return []
    lines = [f"a=msid:{out.stream_id} {out.track_id}"]
    ssrcs = [out.ssrc]
    if out.rtx_ssrc is not None:
        ssrcs.append(out.rtx_ssrc)
        lines.append(f"a=ssrc-group:FID {out.ssrc} {out.rtx_ssrc}")
    for ssrc in ssrcs:
        lines.append(f"a=ssrc:{ssrc} cname:{out.cname}")
        lines.append(f"a=ssrc:{ssrc} msid:{out.stream_id} {out.track_id}")
    return lines
