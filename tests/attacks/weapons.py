"""What attackers send with: many datagrams a system call, others' ports, and packets that lie."""

from __future__ import annotations

import contextlib
import secrets
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from itertools import islice

SOL_UDP, UDP_SEGMENT = 17, 103  # udp(7)
SEGMENTS_MAX = 64
BURST_BYTES_MAX = 60_000
CHUNKS_PER_S = 400
BURST_S = 1.0  # for room in the socket
LOOPBACK = "127.0.0.1"

ALERT, HANDSHAKE, APPLICATION_DATA = 21, 22, 23  # content types, RFC 5246 section 6.2.1
DTLS_1_0, DTLS_1_2 = 0xFEFF, 0xFEFD
CLIENT_HELLO = 1


def paced(count: int, seconds: float) -> Iterator[range]:
    """Yield the numbers up to `count` in even chunks over `seconds`, none of them empty."""
    chunks = max(1, min(count, round(seconds * CHUNKS_PER_S)))
    began_s = time.monotonic()
    for chunk in range(chunks):
        time.sleep(max(0.0, began_s + chunk * seconds / chunks - time.monotonic()))
        yield range(count * chunk // chunks, count * (chunk + 1) // chunks)


def burst(sender: socket.socket, datagrams: Sequence[bytes]) -> None:
    """Send datagrams of one size, up to 64 in one system call, as fast as the socket takes them."""
    if not datagrams:
        return
    patience_s = sender.gettimeout()
    sender.settimeout(BURST_S)
    size = len(datagrams[0])
    at_once = max(1, min(SEGMENTS_MAX, BURST_BYTES_MAX // size))
    some = iter(datagrams)
    while part := list(islice(some, at_once)):
        segment = [(SOL_UDP, UDP_SEGMENT, struct.pack("H", size))]
        with contextlib.suppress(TimeoutError, ConnectionRefusedError):
            sender.sendmsg(part, segment if len(part) > 1 else [])
    sender.settimeout(patience_s)


@contextlib.contextmanager
def strangers(port: int, count: int) -> Iterator[list[socket.socket]]:
    """Give so many sockets that nobody knows, connected to a port here."""
    with contextlib.ExitStack() as stack:
        made = []
        for _ in range(count):
            one = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            one.connect((LOOPBACK, port))
            made.append(one)
        yield made


class Forger:
    """Sends from another process's port on this machine; needs root."""

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
        self._socket.setblocking(False)

    def __enter__(self) -> Forger:
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()

    def send(self, from_port: int, datagram: bytes) -> None:
        """Send under a port; the checksum 0 says that there is none (RFC 768)."""
        head = struct.pack("!HHHH", from_port, self._to_port, 8 + len(datagram), 0)
        with contextlib.suppress(BlockingIOError):
            self._socket.sendto(head + datagram, (LOOPBACK, 0))


def record(kind: int, body: bytes, *, epoch: int = 0, sequence: int = 0) -> bytes:
    """Return a DTLS record (RFC 6347 section 4.1)."""
    head = struct.pack(
        "!BHHHIH", kind, DTLS_1_2, epoch, sequence >> 32, sequence & 0xFFFFFFFF, len(body)
    )
    return head + body


def fragment(
    kind: int, length: int, message: int, offset: int, body: bytes, *, sequence: int = 0
) -> bytes:
    """Return a record with a fragment of a handshake message of `length` (RFC 6347 section 4.2.2)."""
    head = struct.pack("!B", kind) + length.to_bytes(3, "big") + struct.pack("!H", message)
    head += offset.to_bytes(3, "big") + len(body).to_bytes(3, "big")
    return record(HANDSHAKE, head + body, sequence=sequence)


def client_hello() -> bytes:
    """Return a ClientHello that a server would answer: DTLS 1.2, one cipher, use_srtp."""
    ciphers = bytes([0, 4, 0xC0, 0x2B, 0xC0, 0x2F])
    extensions = bytes.fromhex(
        "000a0004000200170" + "00b00020100000d000400020403" + "000e0005000200070" + "0"
    )
    extensions += bytes.fromhex("00170000")
    body = struct.pack("!H", DTLS_1_2) + secrets.token_bytes(32) + b"\0\0" + ciphers + b"\1\0"
    body += struct.pack("!H", len(extensions)) + extensions
    return fragment(CLIENT_HELLO, len(body), 0, 0, body)


def rtp(
    ssrc: int, sequence: int, payload: bytes, *, payload_type: int = 96, timestamp: int = 0
) -> bytes:
    """Return an RTP packet (RFC 3550 section 5.1), not sealed."""
    head = struct.pack("!BBHLL", 0x80, payload_type, sequence & 0xFFFF, timestamp, ssrc)
    return head + payload


def rtcp(kind: int, count: int, body: bytes) -> bytes:
    """Return one RTCP packet (RFC 3550 section 6.4)."""
    body += bytes(-len(body) % 4)
    return struct.pack("!BBH", 0x80 | count, kind, len(body) // 4) + body
