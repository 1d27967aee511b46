"""SCTP that lies, floods or never ends, and messages without end: the class waits for nothing."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgpack
import pytest

from benchmarks.clients.channel import DATA, HEARTBEAT, INIT, SACK, WHOLE, Channel, _chunk
from benchmarks.clients.handshake import Handshake, drain
from tests.attacks.siege import NodeUnderAttack
from tests.attacks.weapons import paced

MESSAGES = "lectern_messages_refused_total"
ASSOCIATIONS = "lectern_sctp_associations_refused_total"
OVER_SHARE = 'lectern_datagrams_refused_total{kind="dtls_over_share"}'
TOO_MANY = 'lectern_datagrams_refused_total{kind="dtls"}'
BINARY, DCEP = 53, 50  # payload protocol identifiers, RFC 8831 section 8
FIRST, LAST = 2, 1  # fragment flags of a chunk of data
ABORT, FORWARD_TSN, RECONFIG = 6, 192, 130
OPEN_S_MAX = 10.0


class Flooder(Channel):
    """A data channel that can be made to send anything."""

    def chunks(self, *parts: bytes) -> None:
        """Send a packet of chunks, with tag and checksum as they should be."""
        self._transmit(b"".join(parts))

    def data(
        self, body: bytes, *, flags: int = WHOLE, stream: int = 0, kind: int = BINARY, skip: int = 0
    ) -> bytes:
        """Return the next chunk of data; `skip` numbers are left out before it."""
        self._tsn = (self._tsn + 1 + skip) & 0xFFFFFFFF
        number, self._number = self._number, (self._number + (flags == WHOLE)) & 0xFFFF
        return _chunk(DATA, flags, struct.pack("!LHHL", self._tsn, stream, number, kind) + body)

    _number = 1


@contextmanager
def flooder(node: NodeUnderAttack) -> Iterator[tuple[Flooder, Handshake]]:
    """Give a viewer of the honest class whose channel is open."""
    hand = node.join("viewer", node.honest.class_id, channel=True)
    channel = Flooder(hand.send_data)
    hand.on_data = channel.take
    deadline_s, asked_s = time.monotonic() + OPEN_S_MAX, 0.0
    while not channel.messages:
        assert time.monotonic() < deadline_s, "the channel did not open"
        if time.monotonic() > asked_s + 0.5:  # the node may not be ready for the first one
            asked_s = time.monotonic()
            channel.begin()
        drain(hand.socket, hand.take)
        time.sleep(0.005)
    try:
        yield channel, hand
    finally:
        hand.socket.close()


def lying_packets(channel: Flooder) -> list[bytes]:
    """Return chunks of which each alone would stand the node still, or make it hoard."""
    zeros = bytes(64)  # parameters of length 0
    spans = struct.pack("!LLHH", 0, 1 << 17, 250, 0) + struct.pack("!HH", 1, 0xFFFF) * 250
    return [
        _chunk(INIT, 0, struct.pack("!LLHHL", 1, 1 << 17, 16, 16, 1) + zeros),
        _chunk(HEARTBEAT, 0, zeros),
        _chunk(RECONFIG, 0, zeros),
        _chunk(ABORT, 0, zeros),
        _chunk(SACK, 0, spans),
        _chunk(SACK, 0, struct.pack("!LLHH", 0, 1, 0xFFFF, 0xFFFF)),
        _chunk(FORWARD_TSN, 0, struct.pack("!L", 1) + bytes(range(200)) * 7),
        channel.data(b"", flags=FIRST),
        b"\0\3\0\0" * 20,
        _chunk(DATA, WHOLE, b"\1"),
    ]


def test_packets_that_lie_end_their_senders_association_only(node: NodeUnderAttack) -> None:
    kinds = 10
    with node.under_attack({ASSOCIATIONS: kinds}) as attack:
        for number in range(kinds):
            with flooder(node) as (channel, _):
                channel.chunks(lying_packets(channel)[number])
        assert len(attack.sessions) == kinds
    # It still answers, and somebody can still open a channel.
    with node.under_attack({}, seconds=0.1), flooder(node) as (channel, _):
        assert channel.messages


@pytest.mark.parametrize("seconds", [0.8, pytest.param(20.0, marks=pytest.mark.long)])
def test_messages_without_end_are_ignored(node: NodeUnderAttack, seconds: float) -> None:
    """Comments, unknown types, garbage and huge ones, as fast as the loop takes them."""
    messages = [
        msgpack.packb({"type": "comment", "ref": 1, "text": "x" * 200}),
        msgpack.packb({"type": "nothing of ours", "at": [[[[]]]] * 10}),
        b"\xdf\xff\xff\xff\xff" + bytes(100),
        b"\x91" * 1000,
        b"\xc4",
    ]
    with flooder(node) as (channel, hand), node.under_attack({MESSAGES: 15}, seconds=seconds) as a:
        for numbers in paced(round(400 * seconds), a.seconds):
            for number in numbers:
                channel.chunks(channel.data(messages[number % len(messages)]))
            drain(hand.socket, hand.take)
    with flooder(node) as (channel, hand), node.under_attack({ASSOCIATIONS: 1}):
        # One message in fragments of 8 bytes, which never ends; its share of the loop may end first.
        before = node.counters()[ASSOCIATIONS]
        channel.chunks(channel.data(bytes(8), flags=FIRST))
        for _ in range(3):
            for _ in range(16):
                channel.chunks(*[channel.data(bytes(8), flags=0) for _ in range(40)])
            time.sleep(0.2)
            if node.counters()[ASSOCIATIONS] > before:
                break
            time.sleep(0.9)


@pytest.mark.parametrize("seconds", [1.0, pytest.param(20.0, marks=pytest.mark.long)])
def test_a_flood_of_chunks_takes_no_more_than_its_share(
    node: NodeUnderAttack, seconds: float
) -> None:
    """Heartbeats, INITs, old acknowledgements, gaps: none ends the association, all of it costs work."""
    counted = {OVER_SHARE: 100, TOO_MANY: 100}
    with flooder(node) as (channel, hand):
        beats = b"".join(
            _chunk(HEARTBEAT, 0, struct.pack("!HH", 1, 8) + bytes(4)) for _ in range(60)
        )
        old = b"".join(_chunk(SACK, 0, struct.pack("!LLHH", 0, 1, 0, 0)) for _ in range(60))
        with node.under_attack(counted, seconds=seconds) as attack:
            for numbers in paced(round(2000 * seconds), attack.seconds):
                for number in numbers:
                    channel.chunks(beats if number % 2 else old)
                drain(hand.socket, hand.take)
