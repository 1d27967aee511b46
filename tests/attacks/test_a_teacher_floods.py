"""A teacher sends fifty times what a share takes: it is cut to a rate, and other classes lose nothing."""

from __future__ import annotations

import uuid

import pytest

from benchmarks.node.offers import new_ssrc
from tests.attacks.honest import payload_of, session_of
from tests.attacks.siege import NodeUnderAttack
from tests.attacks.weapons import burst, paced, rtp

OVER_RATE = 'lectern_datagrams_refused_total{kind="media_over_rate"}'
# The honest teacher sends 200 packets a second, 1.6 Mbit/s.
HONEST_PER_S = 200
TIMES = 50
VIEWERS = 3
TAKEN_PER_S_MAX = 5000
BURST_MAX = 5000


@pytest.mark.parametrize("seconds", [1.5, pytest.param(20.0, marks=pytest.mark.long)])
def test_fifty_times_the_bitrate_is_cut_to_a_rate(node: NodeUnderAttack, seconds: float) -> None:
    ssrc, class_id = new_ssrc(), str(uuid.uuid4())
    count = round(HONEST_PER_S * TIMES * seconds)
    over = count - BURST_MAX - TAKEN_PER_S_MAX * seconds
    hand = node.join("publisher", class_id, sources={"video": ssrc})
    assert hand.keys is not None
    sealer = session_of(hand.keys, sends=True)
    packets = [rtp(ssrc, n, payload_of(n, 0.0), timestamp=n // 8 * 3600) for n in range(count)]
    sealed = [sealer.protect(packet) for packet in packets]
    with node.under_attack({OVER_RATE: over / 2}, seconds=seconds) as attack:
        viewers = [node.join("viewer", class_id) for _ in range(VIEWERS)]
        for numbers in paced(count, attack.seconds):
            burst(hand.socket, sealed[numbers.start : numbers.stop])
        for one in (hand, *viewers):
            one.socket.close()
