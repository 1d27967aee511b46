"""Handshakes that are forged, endless or half done, and forged alerts, end no session but their own."""

from __future__ import annotations

import secrets
from contextlib import ExitStack

import pytest

from benchmarks.clients import stun
from benchmarks.clients.handshake import Handshake, bound_socket, drain, shake_hands
from benchmarks.limits import allow_descriptors
from benchmarks.node.api import remote_of
from tests.attacks.siege import NodeUnderAttack
from tests.attacks.weapons import (
    ALERT,
    APPLICATION_DATA,
    CLIENT_HELLO,
    HANDSHAKE,
    Forger,
    burst,
    client_hello,
    fragment,
    paced,
    record,
    strangers,
)

UNKNOWN_PATH = 'lectern_datagrams_refused_total{kind="unknown_path"}'
TOO_MANY = 'lectern_datagrams_refused_total{kind="dtls"}'
NOT_GENUINE = 'lectern_datagrams_refused_total{kind="dtls_record"}'
CONNECTING = 'lectern_sessions{role="viewer",state="connecting"}'
GIVEN_UP = 'lectern_sessions_ended_total{reason="handshake_failed",role="viewer"}'
SEEN_MIN = 0.5
STRANGERS = 50
ENDLESS = 16  # sessions that send fragments
FATAL_ALERTS = [bytes([2, code]) for code in (0, 10, 20, 40, 80)] + [bytes([1, 0])]
# What an unfinished handshake holds: OpenSSL's state and buffers, and a session's of ours.
HALF_OPEN_KB_MAX = 150


def reach(node: NodeUnderAttack) -> Handshake:
    """Open a session of the attacker's and prove its path, without a word of DTLS."""
    hand = Handshake(remote_of(node.open("viewer")), bound_socket())
    hand.socket.connect((hand.remote.address, hand.remote.port))
    hand.socket.send(stun.check(f"{hand.remote.ice_ufrag}:load", hand.remote.ice_pwd))
    return hand


@pytest.mark.parametrize(
    ("count", "seconds"), [(10_000, 0.6), pytest.param(500_000, 15.0, marks=pytest.mark.long)]
)
def test_hellos_from_elsewhere_are_nobodys_and_a_handshake_under_way_succeeds(
    node: NodeUnderAttack, count: int, seconds: float
) -> None:
    hello = client_hello()
    with (
        strangers(node.port, STRANGERS) as sockets,
        node.under_attack({UNKNOWN_PATH: SEEN_MIN * count}, seconds=seconds) as attack,
    ):
        newcomer = Handshake(remote_of(node.open("viewer", node.honest.class_id)), bound_socket())
        for turn, numbers in enumerate(paced(count, attack.seconds)):
            burst(sockets[turn % STRANGERS], [hello] * len(numbers))
            if turn == 20:
                shake_hands([newcomer], within_s=5)
        assert newcomer.keys is not None
    newcomer.socket.close()


@pytest.mark.parametrize(
    ("count", "seconds"), [(50_000, 0.8), pytest.param(1_000_000, 20.0, marks=pytest.mark.long)]
)
def test_fragments_without_end_are_bounded(
    node: NodeUnderAttack, count: int, seconds: float
) -> None:
    """Messages that never become whole, and such as lie far ahead, from proven paths."""
    plausible = pieces_of([12_000], messages=[0, 1, 5, 9])
    absurd = pieces_of([100_000, (1 << 24) - 1], messages=[0, 1, 9, 0xFFFF])
    counted = {TOO_MANY: count / 4, GIVEN_UP: 1}
    with ExitStack() as stack, node.under_attack(counted, seconds=seconds) as attack:
        hands = [reach(node) for _ in range(ENDLESS)]
        for hand in hands:
            stack.enter_context(hand.socket)
        for turn, numbers in enumerate(paced(count, attack.seconds)):
            pieces = absurd if turn % ENDLESS % 2 else plausible
            some = [pieces[number % len(pieces)] for number in numbers]
            burst(hands[turn % ENDLESS].socket, some)


@pytest.mark.parametrize("count", [100, pytest.param(9_000, marks=pytest.mark.long)])
def test_half_open_handshakes_are_given_up(node: NodeUnderAttack, count: int) -> None:
    """Each proves its path, says hello, and nothing more; newcomers get in all the while."""
    allow_descriptors(count + 1000)
    every = count >= 1000
    counted = {GIVEN_UP: 0.9 * count} if every else {CONNECTING: 0.9 * count}
    bound_mb = 16 + count * HALF_OPEN_KB_MAX / 1024
    with ExitStack() as stack, node.under_attack(counted, growth_mb_max=bound_mb) as attack:
        hello = client_hello()
        for _ in range(count):
            hand = reach(node)
            stack.enter_context(hand.socket)
            drain(hand.socket, hand_nothing)
            hand.socket.send(hello)
        stack.enter_context(node.join("viewer", node.honest.class_id).socket)
        if every:
            node.until(GIVEN_UP, count * 0.9, within_s=60)
    assert len(attack.sessions) > count


def test_forged_alerts_and_records_end_nobodys_session(
    node: NodeUnderAttack, forger: Forger
) -> None:
    """From the very ports of the honest ones: in clear, as if sealed, and as if shaking hands anew."""
    forged = [record(ALERT, alert) for alert in FATAL_ALERTS]
    forged += [record(ALERT, secrets.token_bytes(26), epoch=1, sequence=n) for n in (1, 9, 1 << 40)]
    forged += [
        record(APPLICATION_DATA, secrets.token_bytes(60), epoch=1, sequence=n) for n in (2, 3)
    ]
    forged += [client_hello(), record(HANDSHAKE, secrets.token_bytes(40), epoch=1)]
    rounds = 100
    count = rounds * len(forged) * len(node.honest.ports)
    with node.under_attack({NOT_GENUINE: count / 4}, seconds=0.6) as attack:
        for _ in paced(rounds, attack.seconds):
            for port in node.honest.ports:
                for datagram in forged:
                    forger.send(port, datagram)
    assert node.counters()["lectern_publishers"] >= 1


def pieces_of(lengths: list[int], messages: list[int]) -> list[bytes]:
    """Return fragments of messages that lack their ends."""
    return [
        fragment(CLIENT_HELLO, length, message, offset, secrets.token_bytes(900))
        for length in lengths
        for message in messages
        for offset in range(0, 10_000, 900)
    ]


def hand_nothing(datagram: bytes, now_s: float) -> None:
    """Take a datagram and do nothing with it."""
