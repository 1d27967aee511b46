"""What the node answers to an offer, and what its native core is to expect and to send."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from sfu._core import Sink, Track
from wire.session import Answer, Candidate, Offer, Outgoing, Section, Slot

MID = "urn:ietf:params:rtp-hdrext:sdes:mid"
ABS_SEND_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
TRANSPORT_CC = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
DEPENDENCY_DESCRIPTOR = (
    "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
)

# Chromium keeps one audio per stream in step with its video: the screen's own sound.
STREAMS: dict[Slot, str] = {"video": "screen", "screen_audio": "screen", "mic": "mic"}


class Ssrcs:
    """Gives SSRCs that are unique on the node, so that a packet names its stream anywhere."""

    def __init__(self) -> None:
        self._taken: set[int] = set()

    def take(self) -> int:
        while True:
            ssrc = secrets.randbits(32)
            if ssrc and ssrc not in self._taken:
                self._taken.add(ssrc)
                return ssrc

    def give_back(self, outgoing: dict[str, Outgoing]) -> None:
        for out in outgoing.values():
            self._taken -= {out.ssrc, out.rtx_ssrc or out.ssrc}

    def free(self, ssrcs: Iterable[int]) -> None:
        self._taken.difference_update(ssrcs)

    def __len__(self) -> int:
        return len(self._taken)


@dataclass(frozen=True, slots=True)
class Credentials:
    """ICE credentials of ours: 64 and 128 random bits (RFC 8445 section 5.3 asks for 24 and 128)."""

    ufrag: str
    pwd: str

    @classmethod
    def make(cls) -> Credentials:
        return cls(secrets.token_hex(8), secrets.token_hex(16))


def make_answer(
    offer: Offer,
    *,
    viewer: bool,
    credentials: Credentials,
    fingerprint: tuple[str, str],
    candidates: tuple[Candidate, ...],
    ssrcs: Ssrcs,
) -> Answer:
    """Return the answer to an offer; a viewer's streams get their SSRCs for life here."""
    cname = secrets.token_hex(8)
    outgoing = {}
    for section in offer.sections if viewer else ():
        repairs = any(codec.rtx_payload_type is not None for codec in section.codecs)
        outgoing[section.mid] = Outgoing(
            ssrc=ssrcs.take(),
            cname=cname,
            stream_id=STREAMS[section.slot],
            track_id=section.slot,
            rtx_ssrc=ssrcs.take() if repairs else None,
        )
    return Answer(
        ice_ufrag=credentials.ufrag,
        ice_pwd=credentials.pwd,
        fingerprint=fingerprint,
        dtls_role="server" if offer.dtls_role == "client" else "client",
        candidates=candidates,
        outgoing=outgoing,
    )


def tracks_of(offer: Offer) -> list[Track]:
    """Return what a publisher will send, section by section."""
    tracks = []
    for section in offer.sections:
        source = section.sources[0] if section.sources else None
        tracks.append(
            Track(
                slot=section.slot,
                mid=section.mid,
                codecs=_codecs(section),
                ssrc=source.ssrc if source else None,
                rtx_ssrc=source.rtx_ssrc if source else None,
                mid_extension=section.extensions.get(MID),
                transport_cc_extension=_transport_cc(section),
                abs_send_time_extension=section.extensions.get(ABS_SEND_TIME),
                dependency_descriptor_extension=section.extensions.get(DEPENDENCY_DESCRIPTOR),
                nack=any(codec.nack for codec in section.codecs),
                pli=any(codec.pli for codec in section.codecs),
            )
        )
    return tracks


def sinks_of(offer: Offer, answer: Answer) -> list[Sink]:
    """Return what a viewer will be sent, section by section."""
    sinks = []
    for section in offer.sections:
        out = answer.outgoing[section.mid]
        sinks.append(
            Sink(
                slot=section.slot,
                mid=section.mid,
                codecs=_codecs(section),
                ssrc=out.ssrc,
                rtx_ssrc=out.rtx_ssrc,
                cname=out.cname,
                # Below 2**15, so that a loss before the first packet cannot hide a rollover.
                first_sequence=secrets.randbelow(2**15),
                mid_extension=section.extensions.get(MID),
                transport_cc_extension=_transport_cc(section),
                abs_send_time_extension=section.extensions.get(ABS_SEND_TIME),
                dependency_descriptor_extension=section.extensions.get(DEPENDENCY_DESCRIPTOR),
                nack=any(codec.nack for codec in section.codecs),
            )
        )
    return sinks


def _codecs(section: Section) -> list[tuple[int, str, int, int | None, str]]:
    return [
        (c.payload_type, c.name, c.clock_rate, c.rtx_payload_type, c.fmtp) for c in section.codecs
    ]


def _transport_cc(section: Section) -> int | None:
    """Return the id of the extension where the feedback for it was offered as well."""
    if any(codec.transport_cc for codec in section.codecs):
        return section.extensions.get(TRANSPORT_CC)
    return None
