"""Packets with wrong tags, replays, others' SSRCs and headers that lie reach nobody."""

from __future__ import annotations

import contextlib
import secrets
import struct
from contextlib import closing

import pylibsrtp
import pytest

from benchmarks.node.offers import new_ssrc
from tests.attacks.honest import payload_of, session_of
from tests.attacks.siege import NodeUnderAttack
from tests.attacks.weapons import Forger, burst, paced, rtcp, rtp

FORGED = 'lectern_datagrams_refused_total{kind="media"}'
MALFORMED = 'lectern_datagrams_refused_total{kind="media_malformed"}'
UNKNOWN_SSRC = 'lectern_datagrams_refused_total{kind="unknown_ssrc"}'
UNKNOWN_KIND = 'lectern_datagrams_refused_total{kind="unknown_kind"}'
UNKNOWN_PATH = 'lectern_datagrams_refused_total{kind="unknown_path"}'

# A session that proves nothing for some seconds is over: what it sends after that is nobody's.
sizes = pytest.mark.parametrize(
    ("count", "seconds", "counted"),
    [
        (20_000, 0.6, {FORGED: 10_000}),
        pytest.param(
            *(1_000_000, 25.0, {FORGED: 250_000, UNKNOWN_PATH: 250_000}), marks=pytest.mark.long
        ),
    ],
)


@sizes
def test_bad_tags_are_refused(
    node: NodeUnderAttack, forger: Forger, count: int, seconds: float, counted: dict[str, float]
) -> None:
    """From an attacker's own session, and under the honest teacher's port and SSRC."""
    ssrc, teacher = new_ssrc(), node.honest.ports[0]
    with (
        node.under_attack(counted, seconds=seconds) as attack,
        closing(node.join("publisher", sources={"video": ssrc}).socket) as sender,
    ):
        body = secrets.token_bytes(1100)
        for numbers in paced(count, attack.seconds):
            burst(sender, [rtp(ssrc, number, body) for number in numbers])
            for number in numbers[::20]:
                forger.send(teacher, rtp(node.honest.ssrc, number, body))


@sizes
def test_replays_are_refused(
    node: NodeUnderAttack, forger: Forger, count: int, seconds: float, counted: dict[str, float]
) -> None:
    """An attacker's own packets over and over, and the honest teacher's as they went over the wire."""
    ssrc = new_ssrc()
    with node.under_attack(counted, seconds=seconds) as attack:
        hand = node.join("publisher", sources={"video": ssrc})
        assert hand.keys is not None
        sealer = session_of(hand.keys, sends=True)
        own = [sealer.protect(rtp(ssrc, n, payload_of(n, 0.0))) for n in range(64)]
        for turn, numbers in enumerate(paced(count, attack.seconds)):
            burst(hand.socket, [own[n % len(own)] for n in numbers])
            if turn % 10 == 0:
                for packet in node.honest.captured():
                    forger.send(node.honest.ports[0], packet)
                    forger.send(node.honest.ports[1], packet)
        hand.socket.close()


def test_others_ssrcs_carry_nothing_into_their_class(node: NodeUnderAttack) -> None:
    """Announced by a teacher elsewhere, sent unannounced by another, and sent by a viewer of the class."""
    stolen = node.honest.ssrc
    with node.under_attack({UNKNOWN_SSRC: 1000}, seconds=0.6) as attack:
        announcing = node.join("publisher", sources={"video": stolen})
        unannounced = node.join("publisher", sources={"video": new_ssrc()})
        viewer = node.join("viewer", node.honest.class_id)
        hands = [announcing, unannounced, viewer]
        sealers = [session_of(h.keys, sends=True) for h in hands if h.keys is not None]
        for numbers in paced(1000, attack.seconds):
            for hand, sealer in zip(hands, sealers, strict=True):
                for n in numbers:
                    hand.socket.send(sealer.protect(rtp(stolen, n, payload_of(n, 0.0))))
        for hand in hands:
            hand.socket.close()


# Of VP8 (RFC 7741), VP9 (RFC 9628), H264 (RFC 6184) and AV1: descriptors that promise more than there is.
LYING_PAYLOADS = [
    b"",
    b"\x90",
    b"\xff\xff\xff",
    b"\x90\xff\x80",
    b"\xff" * 20,
    b"\x8f\xff\xff\xff\xff\xff",
    b"\x7c\x85",
    b"\x78\xff\xff\x00",
    b"\xc0\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x00",
]


def test_headers_and_descriptors_that_lie_are_refused(node: NodeUnderAttack) -> None:
    """Genuinely sealed, so that only the parsers stand between them and the class."""
    ssrc = new_ssrc()
    count = 40
    with node.under_attack({MALFORMED: 3 * count, UNKNOWN_KIND: count}, seconds=0.6) as attack:
        hand = node.join("publisher", sources={"video": ssrc})
        assert hand.keys is not None
        sealer = session_of(hand.keys, sends=True)
        viewer = node.join("viewer", node.honest.class_id)
        assert viewer.keys is not None
        feedback = session_of(viewer.keys, sends=True)
        sequence = sent = 0
        for _ in paced(count, attack.seconds):
            for payload_type in (96, 35, 37, 39, 45, 63, 97, 127):
                for payload in LYING_PAYLOADS:
                    sequence += 1
                    packet = rtp(ssrc, sequence, payload, payload_type=payload_type)
                    hand.socket.send(sealer.protect(packet))
                    sent += 1
            for lie in lying_headers(ssrc):
                hand.socket.send(lie)
            for lie in lying_reports(node.honest.viewers_ssrcs[0]):
                with contextlib.suppress(pylibsrtp.Error):  # some lies it does not seal
                    viewer.socket.send(feedback.protect_rtcp(lie))
                    hand.socket.send(sealer.protect_rtcp(lie))
                    sent += 1
        assert sent > 80 * count
        viewer.socket.close()
        hand.socket.close()


def lying_headers(ssrc: int) -> list[bytes]:
    """Return RTP headers with more sources, extensions or padding than there are bytes."""
    honest = rtp(ssrc, 7, bytes(40))
    lies = [bytes([first]) + honest[1:] for first in (0x8F, 0x90, 0xA0, 0xBF)]
    lies += [bytes([0x90]) + honest[1:12] + b"\xbe\xde\xff\xff" + bytes(30)]
    lies += [honest[:cut] for cut in (1, 4, 11, 12)]
    lies += [bytes([0x40]) + honest[1:], bytes([0xC0]) + honest[1:]]
    return lies


def lying_reports(media: int) -> list[bytes]:
    """Return RTCP compounds whose counts, lengths or contents are not so."""
    start = rtcp(201, 0, bytes(4))
    bodies = [
        (200, 31, bytes(24)),
        (201, 31, bytes(4)),
        (205, 1, struct.pack("!LL", 1, media) + secrets.token_bytes(400)),
        (205, 15, struct.pack("!LLHHL", 1, media, 0, 0xFFFF, 1) + b"\xff" * 200),
        (205, 15, struct.pack("!LLHHL", 1, media, 0, 1, 1) + b"\x3f\xff"),
        (206, 4, struct.pack("!LL", 1, 0) + struct.pack("!LL", media, 0) * 100),
        (206, 15, struct.pack("!LL", 1, 0) + b"REMB" + b"\xff" * 40),
        (207, 0, b"\xff" * 40),
        (202, 31, b"\xff" * 20),
    ]
    lies = [start + rtcp(kind, count, body) for kind, count, body in bodies]
    return [*lies, start[:2] + b"\xff\xff" + start[4:], rtcp(205, 1, b"")]
