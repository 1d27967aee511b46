"""SCTP packets on which aiortc would work for ever are refused before it sees them; sound ones are not."""

from __future__ import annotations

import struct
import time

import pytest

from sfu.sctp import CHUNKS_MAX, GAP_NUMBERS_MAX, PACKET_BYTES_MAX, UnsoundPacket, check_packet

DATA, INIT, SACK, HEARTBEAT, ABORT, ERROR, FORWARD_TSN, RECONFIG = 0, 1, 3, 4, 6, 9, 192, 130
INIT_FIELDS = struct.pack("!LLHHL", 1, 1 << 17, 16, 16, 1)
DATA_FIELDS = struct.pack("!LHHL", 1, 0, 0, 53)


def packet(*chunks: bytes) -> bytes:
    return struct.pack("!HHLL", 5000, 5000, 1, 0) + b"".join(chunks)


def chunk(kind: int, body: bytes) -> bytes:
    return struct.pack("!BBH", kind, 0, 4 + len(body)) + body + bytes(-len(body) % 4)


def parameter(kind: int, value: bytes) -> bytes:
    return struct.pack("!HH", kind, 4 + len(value)) + value + bytes(-len(value) % 4)


def sack(*gaps: tuple[int, int], claimed: int | None = None) -> bytes:
    count = len(gaps) if claimed is None else claimed
    fields = struct.pack("!LLHH", 1, 1 << 17, count, 0)
    return chunk(SACK, fields + b"".join(struct.pack("!HH", *gap) for gap in gaps))


SOUND = [
    packet(chunk(INIT, INIT_FIELDS + parameter(0x8008, b"\xc0\x82") + parameter(0xC000, b""))),
    packet(chunk(DATA, DATA_FIELDS + b"x")),
    packet(*[chunk(DATA, DATA_FIELDS + b"x")] * CHUNKS_MAX),
    packet(sack((1, GAP_NUMBERS_MAX))),
    packet(sack(), chunk(HEARTBEAT, parameter(1, bytes(37)))),
    packet(chunk(ABORT, b"")),
    packet(chunk(RECONFIG, parameter(13, bytes(14)))),
    packet(chunk(FORWARD_TSN, bytes(8))),
    packet(chunk(77, bytes(10))),
]
UNSOUND = [
    packet(chunk(INIT, INIT_FIELDS + bytes(8))),
    packet(chunk(INIT, INIT_FIELDS[:8])),
    *[packet(chunk(kind, bytes(8))) for kind in (HEARTBEAT, ABORT, ERROR, RECONFIG)],
    packet(chunk(HEARTBEAT, struct.pack("!HH", 1, 99))),
    packet(chunk(HEARTBEAT, parameter(1, b"") * 33)),
    packet(chunk(DATA, DATA_FIELDS)),
    packet(chunk(DATA, DATA_FIELDS[:4])),
    packet(*[chunk(77, b"")] * (CHUNKS_MAX + 1)),
    packet(sack((1, GAP_NUMBERS_MAX + 1))),
    packet(sack(*[(1, 65535)] * 200)),
    packet(sack((1, 2), claimed=3)),
    packet(chunk(FORWARD_TSN, bytes(6))),
    packet(struct.pack("!BBH", 77, 0, 3)),
    packet(struct.pack("!BBH", 77, 0, 40)),
    packet(*[chunk(77, bytes(100))] * 25),
]


@pytest.mark.parametrize("sound", SOUND)
def test_sound_packets_pass(sound: bytes) -> None:
    check_packet(sound)


@pytest.mark.parametrize("unsound", UNSOUND)
def test_unsound_packets_are_refused_at_once(unsound: bytes) -> None:
    assert len(unsound) <= PACKET_BYTES_MAX or unsound is UNSOUND[-1]
    began_s = time.process_time()
    with pytest.raises(UnsoundPacket):
        check_packet(unsound)
    assert time.process_time() - began_s < 0.05
