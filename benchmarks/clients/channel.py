"""The least of SCTP that opens a data channel and acknowledges what comes (RFC 9260, RFC 8832).

For clients of a node of ours, over a link that loses nothing: no data is sent again. aiortc's association,
which the node runs, is the other end; as a client it would be the first to saturate.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Callable

import google_crc32c

PORT = 5000
WINDOW_BYTES = 128 * 1024
STREAMS = 16
DATA, INIT, INIT_ACK, SACK, HEARTBEAT, HEARTBEAT_ACK, COOKIE_ECHO, COOKIE_ACK = (
    0, 1, 2, 3, 4, 5, 10, 11,
)  # fmt: skip
WHOLE = 3  # flags of a chunk of data that is a whole message
STATE_COOKIE = 7
DCEP = 50
DCEP_OPEN = 3
CHUNKS_MAX = 64
LABEL = b"live"


class Channel:
    """One association with one channel; `send` takes SCTP packets. `messages` counts what came."""

    def __init__(self, send: Callable[[bytes], object]) -> None:
        self._send = send
        self._tag = secrets.randbits(32) or 1
        self._peer_tag = 0
        self._tsn = secrets.randbits(31)
        self._newest = 0  # of the peer's numbers, the highest that came
        self.messages = 0

    def begin(self) -> None:
        """Ask for an association."""
        fields = struct.pack("!LLHHL", self._tag, WINDOW_BYTES, STREAMS, STREAMS, self._tsn)
        self._transmit(_chunk(INIT, 0, fields))

    def take(self, packet: bytes) -> None:
        """Take a packet of the peer."""
        at, owes_sack = 12, False
        for _ in range(CHUNKS_MAX):
            if at + 4 > len(packet):
                break
            kind, _, length = struct.unpack_from("!BBH", packet, at)
            if length < 4:
                break
            body = packet[at + 4 : at + length]
            at += length + -length % 4
            if kind == DATA:
                self._newest = int.from_bytes(body[:4], "big")
                self.messages += int.from_bytes(body[8:12], "big") != DCEP
                owes_sack = True
            elif kind == INIT_ACK:
                self._answer_init(body)
            elif kind == HEARTBEAT:
                self._transmit(_chunk(HEARTBEAT_ACK, 0, body))
        if owes_sack:
            fields = struct.pack("!LLHH", self._newest, WINDOW_BYTES, 0, 0)
            self._transmit(_chunk(SACK, 0, fields))

    def _answer_init(self, body: bytes) -> None:
        """Return the cookie, and open the channel in the same packet."""
        self._peer_tag, _, _, _, first = struct.unpack_from("!LLHHL", body)
        self._newest = (first - 1) & 0xFFFFFFFF
        at = 16
        while at + 4 <= len(body):
            kind, length = struct.unpack_from("!HH", body, at)
            if kind == STATE_COOKIE:
                cookie = body[at + 4 : at + length]
                opening = struct.pack("!BBHLHH", DCEP_OPEN, 0, 0, 0, len(LABEL), 0) + LABEL
                data = struct.pack("!LHHL", self._tsn, 0, 0, DCEP) + opening
                self._transmit(_chunk(COOKIE_ECHO, 0, cookie) + _chunk(DATA, WHOLE, data))
                return
            at += max(4, length + -length % 4)

    def _transmit(self, chunks: bytes) -> None:
        head = struct.pack("!HHL", PORT, PORT, self._peer_tag)
        checksum = google_crc32c.value(head + bytes(4) + chunks)
        self._send(head + checksum.to_bytes(4, "little") + chunks)


def _chunk(kind: int, flags: int, body: bytes) -> bytes:
    length = 4 + len(body)
    return struct.pack("!BBH", kind, flags, length) + body + bytes(-length % 4)
