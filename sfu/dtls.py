"""DTLS of one session: aiortc's transport on datagrams of the native thread.

What aiortc would stumble over is put right here: empty datagrams, several records in one datagram,
flights longer than one, and hostile SCTP that would end its pump with a traceback. SRTP keys go to
the native core; aiortc itself sees no media.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from aiortc.rtcdtlstransport import (
    SRTP_AEAD_AES_128_GCM,
    SRTP_AEAD_AES_256_GCM,
    SRTP_AES128_CM_SHA1_80,
    DataReceiver,
    RTCDtlsParameters,
    RTCDtlsTransport,
    State,
)
from OpenSSL import SSL

from sfu.certificate import NodeCertificate
from sfu.refusals import Refusals

if TYPE_CHECKING:
    from aiortc.rtcicetransport import RTCIceTransport

    from sfu._core import Profile

# A whole handshake is 8 datagrams, and a window of tiny messages 300; what is beyond is lost as it
# would be on the wire.
DATAGRAMS_WAITING_MAX = 512
BYTES_WAITING_MAX = 128 * 1024
DATAGRAM_BYTES_MAX = 1200  # below every path's MTU, as browsers do
RECORD_BYTES_MAX = 16384  # RFC 6347 section 4.1
RECORD_BYTES_EXTRA = 64  # header, explicit nonce and tag: 37 with AES-GCM
APPLICATION_DATA = 23  # content type, RFC 5246 section 6.2.1

# The first is the fastest to seal; browsers would land on 256 bits by aiortc's order.
_PREFERRED = [SRTP_AEAD_AES_128_GCM, SRTP_AEAD_AES_256_GCM, SRTP_AES128_CM_SHA1_80]
_NAMES: dict[bytes, Profile] = {
    SRTP_AEAD_AES_128_GCM.openssl_profile: "AEAD_AES_128_GCM",
    SRTP_AEAD_AES_256_GCM.openssl_profile: "AEAD_AES_256_GCM",
    SRTP_AES128_CM_SHA1_80.openssl_profile: "AES128_CM_SHA1_80",
}


@dataclass(frozen=True, slots=True)
class SrtpKeys:
    """key || salt of both directions (RFC 5764 section 4.2)."""

    profile: Profile
    local: bytes
    remote: bytes


class DatagramPipe:
    """What aiortc takes for its ICE transport: the session's path through the native thread."""

    role = "controlled"
    state = "completed"

    def __init__(self, send: Callable[[bytes], None], refusals: Refusals | None = None) -> None:
        self._send_datagram = send
        self._refusals = refusals or Refusals()
        self._waiting: asyncio.Queue[bytes | None] = asyncio.Queue()  # bounded by `feed`
        self._waiting_bytes = 0
        self._closed = False
        self._deliver: Callable[[bytes], None] | None = None
        self.dropped_datagrams = 0

    def deliver_to(self, take: Callable[[bytes], None]) -> None:
        """Hand over what waits and then each datagram as it comes, without a reader's turn of the loop."""
        while not self._waiting.empty():
            datagram = self._waiting.get_nowait()
            if datagram is None:
                self._waiting.put_nowait(None)
                return
            self._waiting_bytes -= len(datagram)
            take(datagram)
        self._deliver = take

    def feed(self, datagram: bytes) -> None:
        """Take a datagram from the native thread; a full pipe drops it."""
        # RFC 7983: DTLS begins with 20..63. aiortc dies of an empty datagram.
        if self._closed or not datagram or not 20 <= datagram[0] <= 63:
            return
        if self._deliver is not None:
            self._deliver(datagram)
            return
        waiting_bytes = self._waiting_bytes + len(datagram)
        if self._waiting.qsize() >= DATAGRAMS_WAITING_MAX or waiting_bytes > BYTES_WAITING_MAX:
            self.dropped_datagrams += 1
            self._refusals.dtls_waiting += 1
            return
        self._waiting_bytes = waiting_bytes
        self._waiting.put_nowait(datagram)

    def close(self) -> None:
        """Let the reader end; sending still works."""
        if not self._closed:
            self._closed = True
            self._deliver = None
            self._waiting.put_nowait(None)

    async def _recv(self) -> bytes:
        datagram = await self._waiting.get()
        if datagram is None:
            self._waiting.put_nowait(None)
            raise ConnectionError("the session has ended")
        self._waiting_bytes -= len(datagram)
        return datagram

    async def _send(self, datagram: bytes) -> None:
        self._send_datagram(datagram)

    def send(self, datagram: bytes) -> None:
        """Send a datagram at once."""
        self._send_datagram(datagram)


class DtlsTransport(RTCDtlsTransport):
    """aiortc's DTLS with its edges taken off; `keys` are there once the peer has proved itself."""

    def __init__(
        self,
        pipe: DatagramPipe,
        certificate: NodeCertificate,
        *,
        role: str,
        on_application_data: Callable[[], None],
        refusals: Refusals | None = None,
    ) -> None:
        super().__init__(cast("RTCIceTransport", pipe), [certificate])
        self._srtp_profiles = _PREFERRED
        self._set_role(role)
        self._pipe = pipe
        self._on_application_data = on_application_data
        self._refusals = refusals or Refusals()
        self.keys: SrtpKeys | None = None

    @property
    def _tls(self) -> SSL.Connection:
        assert self._ssl is not None  # made by `start`, before anything here is called
        return self._ssl

    def _setup_srtp(self) -> None:
        """Take the keys; `start` has checked the fingerprint before it comes here."""
        selected = self._tls.get_selected_srtp_profile()
        profile = next((p for p in _PREFERRED if p.openssl_profile == selected), None)
        if profile is None:
            self._set_state(State.FAILED)
            return
        material = self._tls.export_keying_material(
            b"EXTRACTOR-dtls_srtp", 2 * (profile.key_length + profile.salt_length)
        )
        ours, theirs = (1, 0) if self._role == "server" else (0, 1)
        self.keys = SrtpKeys(
            _NAMES[profile.openssl_profile],
            local=profile.get_key_and_salt(material, ours),
            remote=profile.get_key_and_salt(material, theirs),
        )

    async def start(self, remoteParameters: RTCDtlsParameters) -> None:
        """Shake hands; raises nothing, `state` says how it went."""
        await super().start(remoteParameters)
        self._deliver_at_once()

    def _register_data_receiver(self, receiver: DataReceiver) -> None:
        super()._register_data_receiver(receiver)
        self._deliver_at_once()

    def _deliver_at_once(self) -> None:
        """Let datagrams wait for no task's turn, once the handshake is over and there is who takes them."""
        if self._state == State.CONNECTED and self._data_receiver is not None:
            self._pipe.deliver_to(self._take)

    def _take(self, datagram: bytes) -> None:
        try:
            run_now(self._receive(datagram))
        except ConnectionError:
            self._pipe.close()  # ends aiortc's task, and that the connection

    async def _recv_next(self) -> None:
        datagram = await self._next_datagram()
        if datagram is not None:
            await self._receive(datagram)

    async def _receive(self, datagram: bytes) -> None:
        self._tls.bio_write(datagram)
        if is_one_record(datagram) and datagram[0] == APPLICATION_DATA:
            try:
                plain = self._tls.recv(len(datagram))
            except SSL.Error:
                self._refusals.dtls_records += 1
                return  # not genuine; nor does OpenSSL answer application data
            await self._deliver(plain)
            return
        connected = self._state == State.CONNECTED
        closed = said = False
        while True:  # bounded by the records of one datagram
            try:
                plain = self._tls.recv(RECORD_BYTES_MAX)
            except SSL.ZeroReturnError:
                closed = True
                break
            except SSL.Error:
                # WantRead, or a record that is not genuine: DTLS drops it (RFC 6347 4.1.2.7).
                break
            said = True
            await self._deliver(plain)
        answered = self._send_what_waits()
        if connected and not (said or answered or closed):
            self._refusals.dtls_records += 1
        if closed:
            raise ConnectionError("the peer closed DTLS")

    async def _next_datagram(self) -> bytes | None:
        """Return the next datagram; None: a handshake timer ran out and its flight was resent."""
        timeout_s = None if self.encrypted else self._tls.DTLSv1_get_timeout()
        try:
            async with asyncio.timeout(timeout_s):
                return await self._pipe._recv()
        except TimeoutError:
            self._tls.DTLSv1_handle_timeout()
            await self._write_ssl()
            return None

    async def _deliver(self, plain: bytes) -> None:
        self._on_application_data()
        if self._data_receiver is None:
            return
        try:
            await self._data_receiver._handle_data(plain)
        except ConnectionError:
            self._refusals.sctp_associations += 1
            raise
        except Exception as error:
            # aiortc's SCTP asserts, unpacks and decodes what the peer sends: a hostile peer can
            # make it raise anything, and its state is not to be trusted afterwards.
            self._refusals.sctp_associations += 1
            raise ConnectionError(f"SCTP failed: {type(error).__name__}") from error

    async def _send_data(self, data: bytes) -> None:
        # SCTP's timers send from tasks that nobody awaits: after the end there is nobody to tell.
        if self._state != State.CONNECTED:
            return
        try:
            self._tls.send(data)
            sealed = self._tls.bio_read(len(data) + RECORD_BYTES_EXTRA)
        except SSL.Error:
            return
        if is_one_record(sealed):
            self._pipe.send(sealed)
            return
        try:
            sealed += self._tls.bio_read(65536)
        except SSL.Error:
            pass  # it was all
        for datagram in split_records(sealed):
            self._pipe.send(datagram)

    async def _write_ssl(self) -> None:
        self._send_what_waits()

    def _send_what_waits(self) -> bool:
        """Send what OpenSSL has to say; return whether there was anything."""
        try:
            data = self._tls.bio_read(65536)
        except SSL.Error:
            return False
        for datagram in split_records(data):
            self._pipe.send(datagram)
        return True


def is_one_record(data: bytes) -> bool:
    """Return whether the bytes are one whole DTLS record."""
    return len(data) > 13 and 13 + (data[11] << 8 | data[12]) == len(data)


def run_now(steps: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that waits for nothing, without a task or a turn of the loop.

    aiortc's SCTP is written with `await` down to the sending of a datagram, which here never waits.
    """
    try:
        steps.send(None)
    except StopIteration:
        return
    steps.close()
    raise RuntimeError("what should run at once has waited")


def split_records(data: bytes) -> list[bytes]:
    """Return whole DTLS records packed into datagrams (RFC 6347 section 4.1.1).

    OpenSSL's memory BIO has no datagram borders; the records' headers have.
    """
    datagrams: list[bytes] = []
    start = end = 0
    while end + 13 <= len(data):
        following = end + 13 + int.from_bytes(data[end + 11 : end + 13], "big")
        if following - start > DATAGRAM_BYTES_MAX and end > start:
            datagrams.append(data[start:end])
            start = end
        end = following
    if start < len(data):
        datagrams.append(data[start:])
    return datagrams
