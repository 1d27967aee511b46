"""Connections that say nothing, dribble, flood or lie are closed within their bounds, and no others."""

from __future__ import annotations

import contextlib
import secrets
import socket
import struct
import time
from contextlib import ExitStack

import pytest

from benchmarks.clients import stun
from benchmarks.node.api import remote_of
from tests.attacks.siege import NodeUnderAttack
from tests.attacks.weapons import LOOPBACK, paced

REFUSED = 'lectern_tcp_connections_refused_total{bound="refused"}'
MALFORMED = 'lectern_tcp_connections_refused_total{bound="malformed"}'
UNCHECKED = 'lectern_tcp_connections_refused_total{bound="unchecked"}'
STUN_REFUSED = 'lectern_datagrams_refused_total{kind="stun"}'
BEFORE_KEYS = 'lectern_datagrams_refused_total{kind="unknown_ssrc"}'
UNPROVEN_MAX = 256  # of one address
CHECK_S = 10.0


def framed(datagram: bytes) -> bytes:
    """Return a datagram as it goes over TCP (RFC 4571)."""
    return struct.pack("!H", len(datagram)) + datagram


def connect(node: NodeUnderAttack, stack: ExitStack) -> socket.socket:
    """Connect; the node may have closed the connection by the time that it is there."""
    made = stack.enter_context(socket.socket())
    made.settimeout(5)
    with contextlib.suppress(ConnectionResetError):
        made.connect((LOOPBACK, node.port))
    made.setblocking(False)
    return made


def say(one: socket.socket, data: bytes) -> bool:
    """Send what the socket takes; False: the node has closed it."""
    try:
        one.send(data)
    except BlockingIOError:
        pass
    except OSError:
        return False
    return True


@pytest.mark.parametrize("seconds", [0.6, pytest.param(14.0, marks=pytest.mark.long)])
def test_silent_and_dribbling_connections_are_bounded(
    node: NodeUnderAttack, seconds: float
) -> None:
    """More than one address may have without a check; some say a byte at a time."""
    counted = {REFUSED: 20} | ({UNCHECKED: 100} if seconds > CHECK_S else {})
    with ExitStack() as stack, node.under_attack(counted, seconds=seconds) as attack:
        sockets = [connect(node, stack) for _ in range(UNPROVEN_MAX + 40)]
        wrong = framed(stun.check(f"{node.honest.ufrags[0]}:load", "wrong"))
        for turn, _ in enumerate(paced(round(100 * seconds), attack.seconds)):
            for one in sockets[::2]:
                say(one, wrong[turn % len(wrong) :][:1])


def test_frames_that_are_no_checks_end_their_connection(node: NodeUnderAttack) -> None:
    count = 40
    starts = [
        framed(b""),
        b"\xff\xff" + bytes(2000),
        framed(b"GET / HTTP/1.1"),
        secrets.token_bytes(99),
    ]
    starts += [framed(bytes([22]) + bytes(60)), framed(bytes([0x80, 96]) + bytes(60))]
    with node.under_attack({MALFORMED: count / 2}), ExitStack() as stack:
        for number in range(count):
            say(connect(node, stack), starts[number % len(starts)])
            time.sleep(0.01)


@pytest.mark.parametrize("seconds", [0.6, pytest.param(20.0, marks=pytest.mark.long)])
def test_floods_of_frames_delay_nobody(node: NodeUnderAttack, seconds: float) -> None:
    """One with a session and one without, as much as their sockets take; neither reads an answer."""
    counted = {STUN_REFUSED: 1000, BEFORE_KEYS: 1000}
    with ExitStack() as stack, node.under_attack(counted, seconds=seconds) as attack:
        remote = remote_of(node.open("publisher", sources={"video": 77}))
        flooding = [connect(node, stack), connect(node, stack)]
        good = framed(stun.check(f"{remote.ice_ufrag}:load", remote.ice_pwd))
        wrong = framed(stun.check("nobody:load", "wrong"))
        media = framed(bytes([0x80, 96]) + bytes(6) + (77).to_bytes(4, "big") + bytes(1000))
        say(flooding[0], good)
        time.sleep(0.1)
        floods = (media * 30, wrong * 200)
        rest = [b"", b""]
        for _ in paced(round(100 * seconds), attack.seconds):
            for number, flood in enumerate(floods):
                pending = rest[number] or flood
                try:
                    rest[number] = pending[flooding[number].send(pending) :]
                except BlockingIOError:
                    pass
                except ConnectionError:  # it was thrown out, and comes again
                    flooding[number], rest[number] = connect(node, stack), good * (number == 0)
