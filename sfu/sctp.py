"""What an SCTP packet must be before aiortc looks at it (RFC 9260 section 3).

aiortc walks through parameters by their own lengths, for ever where one is 0, and through every number
that a gap of a SACK spans. Either would stop the loop that serves everybody on the node.
"""

from __future__ import annotations

from struct import unpack_from

HEADER_BYTES = 12
CHUNK_HEADER_BYTES = 4
PACKET_BYTES_MAX = 2048  # browsers send at most 1,200
CHUNKS_MAX = 64
PARAMETERS_MAX = 32
STREAMS_MAX = 256  # named by one FORWARD TSN or RE-CONFIG
# Numbers that the gaps of one SACK may span: more than are ever on their way to a client.
GAP_NUMBERS_MAX = 4096

DATA, INIT, INIT_ACK, SACK, FORWARD_TSN = 0, 1, 2, 3, 192
# HEARTBEAT, HEARTBEAT ACK, ABORT, ERROR, RE-CONFIG: nothing but parameters, or causes, which look like them.
PARAMETERS_ONLY = frozenset({4, 5, 6, 9, 130})
INIT_FIXED_BYTES = 16
SACK_FIXED_BYTES = 12
DATA_FIXED_BYTES = 12


class UnsoundPacket(ConnectionError):
    """A packet that no SCTP sends: its sender is not spoken to any more."""


def check_packet(packet: bytes) -> None:
    """Look at all lengths and counts of a packet; UnsoundPacket. Work is bounded by its bytes."""
    if len(packet) > PACKET_BYTES_MAX:
        raise UnsoundPacket(f"a packet of {len(packet)} bytes")
    at, chunks = HEADER_BYTES, 0
    while at + CHUNK_HEADER_BYTES <= len(packet):
        kind, _, length = unpack_from("!BBH", packet, at)
        chunks += 1
        if length < CHUNK_HEADER_BYTES or at + length > len(packet) or chunks > CHUNKS_MAX:
            raise UnsoundPacket(f"chunk {chunks} of type {kind} has {length} bytes")
        _check_chunk(kind, packet[at + CHUNK_HEADER_BYTES : at + length])
        at += length + -length % 4


def _check_chunk(kind: int, body: bytes) -> None:
    if kind == DATA:
        if len(body) <= DATA_FIXED_BYTES:  # RFC 9260 section 6.2: no chunk without user data
            raise UnsoundPacket("a chunk of data without any")
    elif kind in (INIT, INIT_ACK):
        if len(body) < INIT_FIXED_BYTES:
            raise UnsoundPacket("a short INIT")
        _check_parameters(body[INIT_FIXED_BYTES:])
    elif kind in PARAMETERS_ONLY:
        _check_parameters(body)
    elif kind == SACK:
        _check_sack(body)
    elif kind == FORWARD_TSN and (len(body) < 4 or len(body) % 4 or len(body) > 4 * STREAMS_MAX):
        raise UnsoundPacket("a FORWARD TSN of no length that it can have")


def _check_parameters(body: bytes) -> None:
    at, count = 0, 0
    while at + 4 <= len(body):
        length = int.from_bytes(body[at + 2 : at + 4], "big")
        count += 1
        if length < 4 or at + length > len(body) or count > PARAMETERS_MAX:
            raise UnsoundPacket(f"parameter {count} has {length} bytes")
        at += length + -length % 4


def _check_sack(body: bytes) -> None:
    if len(body) < SACK_FIXED_BYTES:
        raise UnsoundPacket("a short SACK")
    gaps, duplicates = unpack_from("!HH", body, 8)
    if SACK_FIXED_BYTES + 4 * (gaps + duplicates) > len(body):
        raise UnsoundPacket("a SACK that names more than it holds")
    spanned = 0
    for gap in range(gaps):
        first, last = unpack_from("!HH", body, SACK_FIXED_BYTES + 4 * gap)
        spanned += max(0, last - first + 1)
        if spanned > GAP_NUMBERS_MAX:
            raise UnsoundPacket("the gaps of a SACK span more than was sent")
