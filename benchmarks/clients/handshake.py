"""ICE and DTLS of many clients in one thread, without asyncio: what comes out are SRTP keys.

A client's socket has a port of its own and can be given to the native generator afterwards, by closing it and
binding the port again there: the server sees one and the same peer.
"""

from __future__ import annotations

import itertools
import select
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Literal

from OpenSSL import SSL

from benchmarks.clients import stun
from benchmarks.registry import BenchmarkError
from sfu.certificate import NodeCertificate
from sfu.dtls import split_records

# What the generator calls itself in its checks, and what is said of it in offers and answers.
UFRAG = "load"
PWD = "the+load+generator+is+no+secret"
CHECK_INTERVAL_S = 0.05  # RFC 8445 section 14.2: Ta
# RFC 6347 section 4.2.4.1 begins with 1 s.
FLIGHT_TIMEOUT_S = 1.0
DATAGRAM_BYTES_MAX = 2048
RECORD_BYTES_MAX = 16384  # RFC 6347 section 4.1
RECEIVES_MAX = 64
# Below those that the kernel gives away: between the closing of a port and its binding in the generator
# nobody else gets it.
PORTS = range(10_000, 32_000)

Profile = Literal["AEAD_AES_128_GCM", "AES128_CM_SHA1_80"]
# Of each: OpenSSL's name, bytes of the key and of the salt.
PROFILES: dict[Profile, tuple[bytes, int, int]] = {
    "AEAD_AES_128_GCM": (b"SRTP_AEAD_AES_128_GCM", 16, 12),
    "AES128_CM_SHA1_80": (b"SRTP_AES128_CM_SHA1_80", 16, 14),
}


@dataclass(frozen=True, slots=True)
class Remote:
    """The server's end of one session, as its answer has it."""

    address: str
    port: int
    ice_ufrag: str
    ice_pwd: str
    fingerprint: str  # SHA-256, "AB:CD:..."


@dataclass(frozen=True, slots=True)
class Keys:
    """key || salt: what the client seals with (`local`) and opens with (`remote`)."""

    profile: Profile
    local: bytes
    remote: bytes


@cache
def certificate() -> NodeCertificate:
    """Return the certificate of all clients of this process; making one is no part of a join."""
    return NodeCertificate.generateCertificate()


@cache
def _context() -> SSL.Context:
    context = SSL.Context(SSL.DTLS_METHOD)
    context.set_options(SSL.OP_NO_TICKET)
    ours = certificate()
    context.use_certificate(ours._cert)
    context.use_privatekey(ours._key)
    context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
    context.set_cipher_list(b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256")
    context.set_tlsext_use_srtp(b":".join(name for name, _, _ in PROFILES.values()))
    return context


class Handshake:
    """One client from its first check to its keys; told of datagrams and of the time by a `Handshakes`."""

    def __init__(self, remote: Remote, socket_: socket.socket) -> None:
        self.remote = remote
        self.socket = socket_
        self.keys: Keys | None = None
        self.is_checked = False
        self.due_s = 0.0
        self.on_data: Callable[[bytes], object] | None = None
        self.port: int = socket_.getsockname()[1]
        self._tls: SSL.Connection | None = None

    def start(self, now_s: float) -> None:
        """Send the first check."""
        self.socket.connect((self.remote.address, self.remote.port))
        self.check(now_s)

    def remind(self, now_s: float) -> None:
        """Send again what was not answered in time."""
        if self._tls is None:
            self.check(now_s)
            return
        self._tls.DTLSv1_handle_timeout()
        self._flush()
        self.due_s = now_s + FLIGHT_TIMEOUT_S

    def take(self, datagram: bytes, now_s: float) -> None:
        """Take a datagram; BenchmarkError where the server is not who it said."""
        if not datagram:
            return
        if datagram[0] < 4:
            if stun.is_request(datagram):
                where = (self.remote.address, self.remote.port)
                self.socket.send(stun.answer(datagram, where, PWD))
            elif stun.is_answer(datagram) and not self.is_checked:
                self.is_checked = True
                self._begin_tls(now_s)
        elif 20 <= datagram[0] < 64 and self._tls is not None:
            self._tls.bio_write(datagram)
            if self.keys is None:
                self._shake(now_s)
            elif self.on_data is not None:
                self._read()

    def send_data(self, data: bytes) -> None:
        """Send application data, once there are keys."""
        assert self._tls is not None
        self._tls.send(data)
        self._flush()

    def check(self, now_s: float) -> None:
        """Send a check, the first one or one of consent (RFC 7675)."""
        self.socket.send(stun.check(f"{self.remote.ice_ufrag}:{UFRAG}", self.remote.ice_pwd))
        self.due_s = now_s + CHECK_INTERVAL_S

    def _read(self) -> None:
        assert self._tls is not None and self.on_data is not None
        while True:  # bounded by the records of one datagram
            try:
                data = self._tls.recv(RECORD_BYTES_MAX)
            except SSL.Error:
                return
            self.on_data(data)

    def _begin_tls(self, now_s: float) -> None:
        self._tls = SSL.Connection(_context())
        self._tls.set_connect_state()
        self._shake(now_s)

    def _shake(self, now_s: float) -> None:
        assert self._tls is not None
        self.due_s = now_s + FLIGHT_TIMEOUT_S
        try:
            self._tls.do_handshake()
        except SSL.WantReadError:
            self._flush()
            return
        except SSL.Error as error:
            raise BenchmarkError(f"A DTLS handshake failed: {error}") from error
        self._flush()
        self._export()

    def _flush(self) -> None:
        assert self._tls is not None
        try:
            data = self._tls.bio_read(65536)
        except SSL.WantReadError:
            return
        for datagram in split_records(data):
            self.socket.send(datagram)

    def _export(self) -> None:
        assert self._tls is not None
        shown = self._tls.get_peer_certificate()
        if shown is None or shown.digest("sha256").decode() != self.remote.fingerprint.upper():
            raise BenchmarkError("A server's certificate is not the one of its answer.")
        selected = self._tls.get_selected_srtp_profile()
        for profile, (name, key_bytes, salt_bytes) in PROFILES.items():
            if name == selected:
                material = self._tls.export_keying_material(
                    b"EXTRACTOR-dtls_srtp", 2 * (key_bytes + salt_bytes)
                )
                self.keys = _split(profile, material, key_bytes, salt_bytes)
                return
        raise BenchmarkError(f"A server chose an SRTP profile unknown here: {selected!r}.")


_ports = itertools.cycle(PORTS)


def start_ports_at(share: float) -> None:
    """Begin to look for free ports at this share of them, so that processes do not meet."""
    for _ in range(int(len(PORTS) * share)):
        next(_ports)


def bound_socket() -> socket.socket:
    """Return a UDP socket on a port of its own, never blocking; BenchmarkError where none is free."""
    for port in itertools.islice(_ports, len(PORTS)):
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            made.bind(("", port))
        except OSError:
            made.close()
        else:
            return made
    raise BenchmarkError(f"No UDP port is free from {PORTS.start} to {PORTS.stop}.")


def shake_hands(handshakes: Iterable[Handshake], *, within_s: float) -> None:
    """Bring all of them to their keys; BenchmarkError where that takes too long."""
    waiting = {handshake.socket.fileno(): handshake for handshake in handshakes}
    poll, deadline_s = select.epoll(), time.monotonic() + within_s
    try:
        for descriptor, handshake in waiting.items():
            poll.register(descriptor, select.EPOLLIN)
            handshake.start(time.monotonic())
        while waiting:
            for descriptor, _ in poll.poll(0.02):
                handshake = waiting[descriptor]
                drain(handshake.socket, handshake.take)
                if handshake.keys is not None:
                    poll.unregister(descriptor)
                    del waiting[descriptor]
            now_s = time.monotonic()
            if now_s > deadline_s:
                raise BenchmarkError(f"{len(waiting)} clients have no keys after {within_s:g} s.")
            for handshake in waiting.values():
                if handshake.due_s <= now_s:
                    handshake.remind(now_s)
    finally:
        poll.close()


def drain(socket_: socket.socket, take: Callable[[bytes, float], None]) -> None:
    """Give what waits in a socket to `take`, as far as RECEIVES_MAX."""
    now_s = time.monotonic()
    for _ in range(RECEIVES_MAX):
        try:
            datagram = socket_.recv(DATAGRAM_BYTES_MAX)
        except (BlockingIOError, ConnectionRefusedError):
            return
        take(datagram, now_s)


def _split(profile: Profile, material: bytes, key_bytes: int, salt_bytes: int) -> Keys:
    """Take the keys apart (RFC 5764 section 4.2): both keys, then both salts, the client's first."""
    keys, salts = material[: 2 * key_bytes], material[2 * key_bytes :]
    client = keys[:key_bytes] + salts[:salt_bytes]
    server = keys[key_bytes:] + salts[salt_bytes:]
    return Keys(profile, local=client, remote=server)
