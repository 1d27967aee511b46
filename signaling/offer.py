"""An SDP offer read: from text to what the node and the answer need.

aiortc parses the bulk. It drops rid, simulcast, extmap directions, extmap-allow-mixed and
rtcp-rsize, fails on format parameters of codecs without rtpmap, and keeps no parameters' order, so
those lines are scanned here and kept from it. Candidates are left out: the node is ICE-lite and
learns paths from checks.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field, replace
from typing import Literal, cast

from aiortc import RTCIceParameters, RTCRtpCodecParameters
from aiortc.sdp import MediaDescription, SessionDescription, grouplines

from signaling import sdp
from signaling.sdp import BadOffer, OfferedSection, ReadOffer
from wire.session import Codec, Offer, Section, Slot, Source

Role = Literal["publisher", "viewer"]

# The order of preference: every browser encodes and decodes VP8, then by reach.
VIDEO_CODECS = ("VP8", "H264", "AV1", "VP9")
# RED (RFC 2198) carries Opus twice. Which of them a teacher sends is the order of the own offer.
AUDIO_CODECS = ("OPUS", "RED")
AUDIO_SLOTS: tuple[Slot, ...] = ("mic", "screen_audio")
FEEDBACK = ("nack", "nack pli", "ccm fir", "transport-cc")
EXTENSIONS = (
    sdp.MID,
    sdp.TRANSPORT_CC,
    sdp.ABS_SEND_TIME,
    sdp.AUDIO_LEVEL,
    sdp.DEPENDENCY_DESCRIPTOR,
)
SIMULCAST_EXTENSIONS = (sdp.STREAM_ID, sdp.REPAIRED_STREAM_ID)
RIDS_MAX = 4

_SCANNED = ("candidate", "end-of-candidates", "rtcp", "extmap", "rid", "simulcast")
_CODEC_LINES = ("rtpmap", "rtcp-fb", "fmtp")
# Most of an offer is the codecs of its browser's version, and thousands of students have the same:
# reading them once saves two thirds of the work.
CODECS_CACHED_MAX = 256
CODECS_CACHED_BYTES_MAX = 8192  # of one entry's text
# RFC 8122 section 5; SHA-1 and MD5 prove nothing today.
_HASH_BYTES = {"sha-256": 32, "sha-384": 48, "sha-512": 64}
_MID = re.compile(r"[!#-'*+\-.0-9A-Z^-~]{1,16}")  # a token that fits a one-byte header extension
_EXTMAP = re.compile(r"(\d{1,5})(?:/(sendrecv|sendonly|recvonly|inactive))? (\S+)(?: .*)?")
_RID = re.compile(r"([A-Za-z0-9_-]{1,16}) send(?: .*)?")
_APT = re.compile(r"(?:^|[;\s])apt=(\d{1,3})(?:$|[;\s])")


@dataclass(slots=True)
class _Scan:
    """What aiortc would lose of one section."""

    flags: set[str] = field(default_factory=set)
    codec_lines: list[str] = field(default_factory=list)
    extensions: dict[str, tuple[int, str]] = field(default_factory=dict)  # uri -> id, direction
    rids: list[str] = field(default_factory=list)
    simulcast: bool = False
    ssrc_lines: int = 0


def read_offer(body: bytes, role: Role) -> ReadOffer:
    """Return the meaning of an SDP offer for a publisher or a viewer.

    Raises BadOffer with a sentence for everything that cannot be answered, however malformed.
    """
    text = sdp.decode(body, "offer")
    lines = sdp.check_text(text, "offer")
    if not lines or lines[0].strip() != "v=0":
        raise BadOffer("The offer does not begin with v=0, so it is no SDP.")
    session_lines, section_lines = grouplines(text)
    if not section_lines:
        raise BadOffer("The offer has no m= section.")
    if len(section_lines) > sdp.SECTIONS_MAX:
        raise BadOffer(f"The offer has more than {sdp.SECTIONS_MAX} sections.")
    kept = list(session_lines)
    scans = [_scan(section, kept) for section in section_lines]
    description = _parse(kept)
    bundle = next((g.items for g in description.group if g.semantic == "BUNDLE"), None)
    if not bundle:
        raise BadOffer("The offer does not bundle its sections (a=group:BUNDLE).")
    flags = {line[2:].strip() for line in session_lines if line.startswith("a=")}
    chooser = _Chooser(role, [str(mid) for mid in bundle], "extmap-allow-mixed" in flags)
    sections = chooser.choose(description, scans)
    if not any(section.media for section in sections):
        raise BadOffer(
            "The offer has no audio (Opus) or video (VP8, H264, AV1, VP9) section that can "
            + ("send." if role == "publisher" else "receive.")
        )
    accepted = [section.mid for section in sections if section.accepted and section.mid]
    tagged = next((mid for mid in map(str, bundle) if mid in accepted), accepted[0])
    transport = next(m for m in description.media if m.rtp.muxId == tagged)
    data = next((m for m, s in zip(description.media, sections, strict=True) if s.data), None)
    return ReadOffer(
        offer=_transport(transport, data, tuple(s.media for s in sections if s.media)),
        role=role,
        sections=tuple(sections),
        bundle=(tagged, *(mid for mid in accepted if mid != tagged)),
        allow_mixed="extmap-allow-mixed" in flags,
        trickle="trickle" in (transport.ice_options or "").split(),
    )


def _parse(lines: list[str]) -> SessionDescription:
    try:
        return SessionDescription.parse("\r\n".join(lines) + "\r\n")
    except (
        # The parser has no error of its own: these are what malformed lines make it raise.
        AssertionError,
        AttributeError,
        IndexError,
        KeyError,
        StopIteration,
        TypeError,
        ValueError,
    ) as error:
        raise BadOffer("The offer is malformed SDP.") from error


def _scan(lines: list[str], kept: list[str]) -> _Scan:
    """Return what aiortc is not to see of a section, and add the rest of its lines to `kept`."""
    if len(lines[0].split()) - 3 > sdp.FORMATS_MAX:
        raise BadOffer(f"A section of the offer has more than {sdp.FORMATS_MAX} formats.")
    scan = _Scan()
    kept.append(lines[0])
    for line in lines[1:]:
        name, _, value = line[2:].partition(":") if line.startswith("a=") else ("", "", "")
        if name in _CODEC_LINES:
            scan.codec_lines.append(line)
            continue
        if name not in _SCANNED:
            kept.append(line)
        if name == "extmap":
            if match := _EXTMAP.fullmatch(value.strip()):
                scan.extensions.setdefault(match[3], (int(match[1]), match[2] or "sendrecv"))
        elif name == "rid":
            if (match := _RID.fullmatch(value.strip())) and len(scan.rids) < RIDS_MAX:
                scan.rids.append(match[1])
        elif name == "simulcast":
            scan.simulcast = "send" in value.split()
        elif name in ("ssrc", "ssrc-group"):
            scan.ssrc_lines += 1
        elif not value:
            scan.flags.add(name.strip())
    if scan.ssrc_lines > sdp.SSRC_LINES_MAX:
        raise BadOffer(f"A section of the offer has more than {sdp.SSRC_LINES_MAX} a=ssrc lines.")
    return scan


class _Chooser:
    """Decides section by section what is accepted, and which slot it gets."""

    def __init__(self, role: Role, bundle: list[str], allow_mixed: bool) -> None:
        self._directions = (
            ("sendonly", "sendrecv") if role == "publisher" else ("recvonly", "sendrecv")
        )
        self._role = role
        self._bundle = bundle
        self._allow_mixed = allow_mixed  # in every section (RFC 8285 section 6)
        self._slots: dict[str, list[Slot]] = {"video": ["video"], "audio": list(AUDIO_SLOTS)}
        self._data_free = True
        self._mids: set[str] = set()

    def choose(self, description: SessionDescription, scans: list[_Scan]) -> list[OfferedSection]:
        return [self._one(m, s) for m, s in zip(description.media, scans, strict=True)]

    def _one(self, media: MediaDescription, scan: _Scan) -> OfferedSection:
        mid = media.rtp.muxId or None
        rejected = OfferedSection(
            kind=media.kind,
            protocol=media.profile,
            formats=" ".join(map(str, media.fmt)),
            mid=mid,
        )
        if media.port == 0 and "bundle-only" not in scan.flags:
            return rejected
        if mid is not None:
            if not _MID.fullmatch(mid):
                raise BadOffer("A section's a=mid is no token of 1 to 16 characters.")
            if mid in self._mids:
                raise BadOffer(f"Two sections of the offer have a=mid:{mid}.")
            self._mids.add(mid)
        if media.kind == "application" and self._takes_data(media):
            self._check(media, scan, mid)
            self._data_free = False
            return replace(rejected, data=True)
        if media.kind in self._slots and media.profile == "UDP/TLS/RTP/SAVPF":
            return self._media(media, scan, rejected)
        return rejected

    def _takes_data(self, media: MediaDescription) -> bool:
        return (
            self._data_free
            and media.profile in ("UDP/DTLS/SCTP", "DTLS/SCTP")
            and media.fmt == ["webrtc-datachannel"]
        )

    def _check(self, media: MediaDescription, scan: _Scan, mid: str | None) -> None:
        if mid is None:
            raise BadOffer("A section of the offer has no a=mid.")
        if mid not in self._bundle:
            raise BadOffer(f"Section {mid} is outside the bundle (a=group:BUNDLE).")
        if media.kind != "application" and not scan.flags & {"rtcp-mux", "rtcp-mux-only"}:
            raise BadOffer(f"Section {mid} does not multiplex RTCP (a=rtcp-mux).")

    def _media(
        self, media: MediaDescription, scan: _Scan, rejected: OfferedSection
    ) -> OfferedSection:
        slots = self._slots[media.kind]
        codecs, feedback = _codecs_of(media, scan)
        if not slots or not codecs or (media.direction or "sendrecv") not in self._directions:
            return rejected
        self._check(media, scan, rejected.mid)
        publishes = self._role == "publisher"
        rids = tuple(scan.rids) if publishes and scan.simulcast else ()
        mixed = self._allow_mixed or "extmap-allow-mixed" in scan.flags
        extensions = _extensions(scan, publishes, simulcast=bool(rids), mixed=mixed)
        section = Section(
            mid=str(rejected.mid),
            kind=cast(Literal["audio", "video"], media.kind),
            slot=slots.pop(0),
            codecs=codecs,
            extensions={uri: number for uri, (number, _) in extensions.items()},
            sources=_sources(media) if publishes else (),
            rids=rids,
        )
        return replace(
            rejected,
            media=section,
            extension_directions=dict(extensions.values()),
            feedback=feedback,
            rtcp_rsize="rtcp-rsize" in scan.flags,
            allow_mixed="extmap-allow-mixed" in scan.flags,
        )


Codecs = tuple[tuple[Codec, ...], dict[int, tuple[str, ...]]]


def _codecs_of(media: MediaDescription, scan: _Scan) -> Codecs:
    """Return the codecs that both sides know, most preferred first, and their kept feedback."""
    text = "\r\n".join(scan.codec_lines)
    formats = " ".join(map(str, media.fmt))
    if len(text) + len(formats) > CODECS_CACHED_BYTES_MAX:
        return _codecs(media.kind, formats, text)
    return _codecs_cached(media.kind, formats, text)


def _codecs(kind: str, formats: str, text: str) -> Codecs:
    order = VIDEO_CODECS if kind == "video" else AUDIO_CODECS
    lines = text.split("\r\n")
    fmtp: dict[int, str] = {}
    for line in lines:
        if line.startswith("a=fmtp:"):
            number, _, parameters = line[7:].strip().partition(" ")
            if number.isascii() and number.isdigit() and len(number) <= 3:
                fmtp.setdefault(int(number), parameters.strip())
    # aiortc fails on parameters of a codec without rtpmap, and does not keep their text.
    rest = [line for line in lines if not line.startswith("a=fmtp:")]
    (media,) = _parse(["v=0", f"m={kind} 9 UDP/TLS/RTP/SAVPF {formats}", *rest]).media
    offered: dict[int, RTCRtpCodecParameters] = {}
    repair: dict[int, int] = {}
    for codec in media.rtp.codecs:
        payload_type = codec.payloadType
        if payload_type is not None and payload_type in media.fmt and 0 <= payload_type <= 127:
            offered.setdefault(payload_type, codec)
            apt = _APT.search(fmtp.get(payload_type, ""))
            if codec.name.lower() == "rtx" and apt:
                repair.setdefault(int(apt[1]), payload_type)
    codecs: list[Codec] = []
    feedback: dict[int, tuple[str, ...]] = {}
    for payload_type in media.fmt:
        known = offered.pop(payload_type, None)
        if known is None or known.name.upper() not in order or not _sane(known):
            continue
        kept = dict.fromkeys(
            text
            for text in (f"{f.type} {f.parameter or ''}".strip() for f in known.rtcpFeedback)
            if text in FEEDBACK
        )
        feedback[payload_type] = tuple(kept)
        codecs.append(
            Codec(
                name=known.name.upper(),
                payload_type=payload_type,
                clock_rate=known.clockRate,
                channels=known.channels or 1,
                fmtp=fmtp.get(payload_type, ""),
                rtx_payload_type=repair.get(payload_type),
                nack="nack" in kept,
                pli="nack pli" in kept,
                transport_cc="transport-cc" in kept,
            )
        )
    if kind == "audio":
        codecs = _playable_sound(codecs)
    else:
        codecs.sort(key=lambda codec: order.index(codec.name))  # stable: the offer's order within
    return tuple(codecs), {codec.payload_type: feedback[codec.payload_type] for codec in codecs}


def _playable_sound(codecs: list[Codec]) -> list[Codec]:
    """Return them without RED whose copies are not of one Opus that is offered as well."""
    opus = {str(codec.payload_type) for codec in codecs if codec.name == "OPUS"}

    def is_playable(codec: Codec) -> bool:
        carried = set(codec.fmtp.split("/"))
        return codec.name == "OPUS" or (len(carried) == 1 and carried <= opus)

    return [codec for codec in codecs if is_playable(codec)]


_codecs_cached = functools.lru_cache(CODECS_CACHED_MAX)(_codecs)


def _sane(codec: RTCRtpCodecParameters) -> bool:
    return 0 < codec.clockRate <= 192_000 and 0 < (codec.channels or 1) <= 8


def _extensions(
    scan: _Scan, publishes: bool, *, simulcast: bool, mixed: bool
) -> dict[str, tuple[int, str]]:
    """Return uri -> (id, direction as offered) of those extensions that the node uses."""
    useless = ("recvonly" if publishes else "sendonly", "inactive")
    wanted = EXTENSIONS + (SIMULCAST_EXTENSIONS if simulcast else ())
    if not publishes and not mixed:
        # A keyframe's descriptor needs a two-byte header, and without it no other can be read.
        wanted = tuple(uri for uri in wanted if uri != sdp.DEPENDENCY_DESCRIPTOR)
    chosen: dict[str, tuple[int, str]] = {}
    for uri in wanted:
        number, direction = scan.extensions.get(uri, (0, ""))
        # What a one-byte header can name (RFC 8285 section 4.2): most packets have those.
        taken = any(number == other for other, _ in chosen.values())
        if 1 <= number <= 14 and direction not in useless and not taken:
            chosen[uri] = (number, direction)
    return chosen


def _sources(media: MediaDescription) -> tuple[Source, ...]:
    """Return the section's streams, each with its repair stream (RFC 5576 section 4.2)."""
    repair: dict[int, int] = {}
    for group in media.ssrc_group:
        if group.semantic == "FID" and len(group.items) == 2:
            repair[int(group.items[0])] = int(group.items[1])
    sources = []
    for described in media.ssrc:
        if not 0 < described.ssrc < 2**32:
            raise BadOffer("The offer has an a=ssrc that is no 32-bit number.")
        if described.ssrc not in repair.values():
            rtx = repair.get(described.ssrc)
            if rtx is not None and not 0 < rtx < 2**32:
                raise BadOffer("The offer has an a=ssrc-group that holds no 32-bit number.")
            sources.append(Source(described.ssrc, rtx))
    return tuple(sources)


def _transport(
    media: MediaDescription, data: MediaDescription | None, sections: tuple[Section, ...]
) -> Offer:
    """Return the whole offer with the transport of its tagged section (RFC 9143 section 7)."""
    ice = media.ice or RTCIceParameters()
    if ice.iceLite:
        raise BadOffer("Both sides are ICE-lite, so neither would find the other (a=ice-lite).")
    ufrag, pwd = ice.usernameFragment or "", ice.password or ""
    if not sdp.ICE_UFRAG.fullmatch(ufrag):
        raise BadOffer("The offer has no valid a=ice-ufrag.")
    if not sdp.ICE_PWD.fullmatch(pwd):
        raise BadOffer("The offer has no valid a=ice-pwd.")
    if media.dtls is None:
        raise BadOffer("The offer does not say its DTLS role (a=setup).")
    fingerprints = []
    for given in media.dtls.fingerprints:
        algorithm = given.algorithm.lower()
        if algorithm in _HASH_BYTES:
            pairs = given.value.split(":")
            if len(pairs) != _HASH_BYTES[algorithm] or not all(
                re.fullmatch("[0-9A-Fa-f]{2}", pair) for pair in pairs
            ):
                raise BadOffer(f"The offer's {algorithm} fingerprint is malformed.")
            fingerprints.append((algorithm, given.value.upper()))
    if not fingerprints:
        raise BadOffer("The offer has no certificate fingerprint of SHA-256 or better.")
    sctp_port = None
    message_size = 65536  # RFC 8841 section 6.1
    if data is not None:
        sctp_port = data.sctp_port if data.sctp_port is not None else sdp.SCTP_PORT
        if not 0 < sctp_port < 65536:
            raise BadOffer("The offer's a=sctp-port is no port.")
        if data.sctpCapabilities is not None:
            message_size = min(max(data.sctpCapabilities.maxMessageSize, 0), 2**31)
    return Offer(
        ice_ufrag=ufrag,
        ice_pwd=pwd,
        fingerprints=tuple(fingerprints),
        # actpass: we are passive, so that the browser's ClientHello follows its check at once.
        dtls_role="server" if media.dtls.role == "server" else "client",
        sections=sections,
        sctp_port=sctp_port,
        sctp_max_message_size=message_size,
    )
