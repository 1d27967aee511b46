"""What sessions of the attacks' clients offer."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.clients.handshake import UFRAG, certificate
from benchmarks.node.offers import MID_ID, opening
from wire.session import OpenSession, Role, Slot


def opening_without_estimate(
    class_id: str,
    role: Role,
    *,
    sources: dict[Slot, int] | None = None,
    channel: bool = False,
) -> OpenSession:
    """Return the message of a new person without transport-wide feedback, who is sent everything."""
    message = opening(class_id, role, sources=sources, channel=channel)
    sections = tuple(
        replace(
            section,
            codecs=tuple(replace(codec, transport_cc=False) for codec in section.codecs),
            extensions={"urn:ietf:params:rtp-hdrext:sdes:mid": MID_ID},
        )
        for section in message.offer.sections
    )
    return replace(message, offer=replace(message.offer, sections=sections))


def whip_offer(ssrc: int) -> str:
    """Return the SDP of a teacher with one stream of VP8, and no feedback that estimates the line."""
    return _offer("sendonly", [f"a=ssrc:{ssrc} cname:teacher", "a=msid:s t"])


def whep_offer() -> str:
    """Return the SDP of a viewer who takes VP8 and asks for nothing again."""
    return _offer("recvonly", [])


def _offer(direction: str, more: list[str]) -> str:
    lines = [
        "v=0",
        "o=- 1 1 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE 0",
        "m=video 9 UDP/TLS/RTP/SAVPF 96",
        "c=IN IP4 0.0.0.0",
        "a=rtcp-mux",
        f"a=ice-ufrag:{UFRAG}",
        "a=ice-pwd:nobodyChecksAtAViewerOfALiteAgent",
        f"a=fingerprint:sha-256 {certificate().fingerprint[1]}",
        "a=setup:active",
        "a=mid:0",
        f"a={direction}",
        "a=rtpmap:96 VP8/90000",
        "a=rtcp-fb:96 nack pli",
        *more,
    ]
    return "\r\n".join(lines) + "\r\n"
