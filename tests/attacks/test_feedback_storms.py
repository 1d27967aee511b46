"""Viewers of the honest class ask for everything all the time: the teacher is hardly asked."""

from __future__ import annotations

import struct

import pytest

from tests.attacks.honest import session_of
from tests.attacks.siege import NodeUnderAttack
from tests.attacks.weapons import burst, paced, rtcp

PLIS = "lectern_plis_received_total"
NACKS = "lectern_nacks_received_total"
OVER_RATE = 'lectern_datagrams_refused_total{kind="media_over_rate"}'
# At most one keyframe in 5 s for viewers, one a second where the teacher's own line lost something.
KEYFRAMES_ASKED_PER_S_MAX = 0.5
STORMERS = 3
MODEST_PER_S = 2000


@pytest.mark.parametrize(
    ("count", "seconds"), [(10_000, 0.6), pytest.param(300_000, 20.0, marks=pytest.mark.long)]
)
def test_plis_and_nacks_without_end_disturb_nobody(
    node: NodeUnderAttack, count: int, seconds: float
) -> None:
    """One sends more than its rate, two as much as they may."""
    modest = min(count, round(MODEST_PER_S * seconds))
    stormers = []
    for _ in range(STORMERS):
        message = node.open("viewer", node.honest.class_id)
        stormers.append((node.shake(message), message.outgoing["0"].ssrc))
    sealed = []
    for (hand, media), size in zip(stormers, (count, modest, modest), strict=True):
        assert hand.keys is not None
        sealer = session_of(hand.keys, sends=True)
        sealed.append([sealer.protect_rtcp(storm(media, turn)) for turn in range(size)])
    counted = {PLIS: 1000, NACKS: 1000, OVER_RATE: (count - 5000 * (1 + seconds)) / 4}
    with node.under_attack(counted, seconds=seconds) as attack:
        for share in paced(1000, attack.seconds):
            for (hand, _), packets in zip(stormers, sealed, strict=True):
                size = len(packets)
                burst(hand.socket, packets[share.start * size // 1000 : share.stop * size // 1000])
    for hand, _ in stormers:
        hand.socket.close()
    assert attack.found["keyframes_asked"] <= 1 + KEYFRAMES_ASKED_PER_S_MAX * seconds


def storm(media: int, turn: int) -> bytes:
    """Return a report, NACKs for 340 numbers, a PLI and a FIR, all of one size."""
    everything = b"".join(
        struct.pack("!HH", (turn * 97 + 17 * n) & 0xFFFF, 0xFFFF) for n in range(20)
    )
    return (
        rtcp(201, 0, struct.pack("!L", 1))
        + rtcp(205, 1, struct.pack("!LL", 1, media) + everything)
        + rtcp(206, 1, struct.pack("!LL", 1, media))
        + rtcp(206, 4, struct.pack("!LLLBBH", 1, 0, media, turn & 0xFF, 0, 0))
    )
