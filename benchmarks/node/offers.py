"""What signaling would send to a node for a viewer's or a teacher's offer.

The sections are those of Chromium's offer for our pages: what a join costs grows with them.
"""

from __future__ import annotations

import secrets
import uuid
from dataclasses import replace
from typing import Any

from benchmarks.clients.handshake import PWD, UFRAG, certificate
from wire.session import Codec, Offer, OpenSession, Role, Section, Slot, Source

VP8_PAYLOAD_TYPE = 96
OPUS_PAYLOAD_TYPE = 111
TRANSPORT_CC_ID = 3
MID_ID = 4
SCTP_PORT = 5000
EXTENSIONS = {
    "urn:ietf:params:rtp-hdrext:sdes:mid": MID_ID,
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01": TRANSPORT_CC_ID,
}
H264_PROFILES = ("42001f", "42e01f", "4d001f", "f4001f", "64001f")


def _video_codecs() -> tuple[Codec, ...]:
    feedback: dict[str, Any] = {"nack": True, "pli": True, "transport_cc": True}
    others = [("VP9", f"profile-id={n}") for n in (0, 2, 1, 3)]
    others += [
        ("H264", f"level-asymmetry-allowed=1;packetization-mode={mode};profile-level-id={profile}")
        for profile in H264_PROFILES
        for mode in (1, 0)
    ]
    others += [("AV1", "level-idx=5;profile=0;tier=0"), ("AV1", "level-idx=5;profile=1;tier=0")]
    numbers = [n for n in range(35, 64)]
    codecs = [Codec("VP8", VP8_PAYLOAD_TYPE, 90000, rtx_payload_type=97, **feedback)]
    for at, (name, fmtp) in enumerate(others[: len(numbers) // 2]):
        first = numbers[2 * at]
        codecs.append(Codec(name, first, 90000, fmtp=fmtp, rtx_payload_type=first + 1, **feedback))
    return tuple(codecs)


def _sections(sources: dict[Slot, int]) -> tuple[Section, ...]:
    opus = (
        Codec("OPUS", OPUS_PAYLOAD_TYPE, 48000, 2, "minptime=10;useinbandfec=1", transport_cc=True),
    )
    kinds: tuple[Slot, ...] = ("video", "mic", "screen_audio")
    return tuple(
        Section(
            mid=str(at),
            kind="video" if slot == "video" else "audio",
            slot=slot,
            codecs=_video_codecs() if slot == "video" else opus,
            extensions=EXTENSIONS,
            sources=(Source(sources[slot]),) if slot in sources else (),
        )
        for at, slot in enumerate(kinds)
    )


def opening(
    class_id: str, role: Role, *, sources: dict[Slot, int] | None = None, channel: bool = False
) -> OpenSession:
    """Return the message for one new person."""
    offer = Offer(
        ice_ufrag=UFRAG,
        ice_pwd=PWD,
        fingerprints=(("sha-256", certificate().fingerprint[1]),),
        dtls_role="client",
        sections=_sections(sources or {}),
        sctp_port=SCTP_PORT if channel else None,
    )
    return OpenSession(
        session_id=str(uuid.uuid4()),
        fence=1,
        class_id=class_id,
        user_id=str(uuid.uuid4()),
        name="Load",
        role=role,
        offer=offer,
        capacity=100_000,
    )


def again(message: OpenSession) -> OpenSession:
    """Return the message of another person who offers the same."""
    return replace(message, session_id=str(uuid.uuid4()), user_id=str(uuid.uuid4()))


def new_ssrc() -> int:
    """Return a random SSRC."""
    return secrets.randbits(31) | 1
