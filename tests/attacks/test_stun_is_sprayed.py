"""Checks by the thousand, forged and genuine, change no path and cost nobody a packet."""

from __future__ import annotations

import pytest

from benchmarks.clients import stun
from benchmarks.clients.handshake import bound_socket
from benchmarks.node.api import remote_of
from tests.attacks.siege import NodeUnderAttack
from tests.attacks.weapons import Forger, burst, paced, strangers

REFUSED = 'lectern_datagrams_refused_total{kind="stun"}'
STRANGERS = 200
# Of the packets sent: on a busy machine the kernel drops some of a flood before anybody sees them.
SEEN_MIN = 0.5

sizes = pytest.mark.parametrize(
    ("count", "seconds"), [(20_000, 0.6), pytest.param(1_000_000, 20.0, marks=pytest.mark.long)]
)


@sizes
def test_a_spray_of_forged_checks_is_refused(
    node: NodeUnderAttack, forger: Forger, count: int, seconds: float
) -> None:
    """Under names that nobody has, under the honest ones with a wrong password, and from their ports."""
    names = ["nobody", *node.honest.ufrags]
    checks = [stun.check(f"{name}:load", f"wrong password {name}") for name in names]
    with (
        strangers(node.port, STRANGERS) as sockets,
        node.under_attack({REFUSED: SEEN_MIN * count}, seconds=seconds) as attack,
    ):
        for turn, numbers in enumerate(paced(count, attack.seconds)):
            check = checks[turn % len(checks)]
            burst(sockets[turn % STRANGERS], [check] * len(numbers))
            for port in node.honest.ports:
                forger.send(port, check)


@sizes
def test_a_flood_of_genuine_checks_is_answered_within_bounds(
    node: NodeUnderAttack, count: int, seconds: float
) -> None:
    """One session's own password, from two hundred ports: it holds eight paths, and others' stay."""
    remote = remote_of(node.open("viewer"))
    check = stun.check(f"{remote.ice_ufrag}:load", remote.ice_pwd)
    with (
        strangers(node.port, STRANGERS) as sockets,
        node.under_attack({"lectern_stun_requests_total": SEEN_MIN * count}, seconds=seconds) as a,
    ):
        for turn, numbers in enumerate(paced(count, a.seconds)):
            burst(sockets[turn % STRANGERS], [check] * len(numbers))


def test_what_only_looks_like_stun_is_refused(node: NodeUnderAttack) -> None:
    genuine = stun.check(f"{node.honest.ufrags[0]}:load", "wrong")
    lies = [genuine[:cut] for cut in range(20, len(genuine), 4)]
    lies += [genuine[:2] + n.to_bytes(2, "big") + genuine[4:] for n in (0, 4, 0xFFFC, 0xFFFF)]
    lies += [genuine[:20] + b"\0\6" + n.to_bytes(2, "big") + genuine[24:] for n in (1, 513, 0xFFFF)]
    count = 40 * len(lies)
    with (
        node.under_attack({REFUSED: SEEN_MIN * count}, seconds=0.5) as attack,
        bound_socket() as sender,
    ):
        sender.connect(("127.0.0.1", node.port))
        for numbers in paced(40, attack.seconds):
            for _ in numbers:
                for lie in lies:
                    burst(sender, [lie])
