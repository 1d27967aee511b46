"""A viewer that costs little: real ICE checks, DTLS and SCTP on a socket of its own, and no media.

The association is aiortc's. What a viewer does all day, to take chunks that come in order and to
acknowledge them, is done here in a few lines; anything else goes aiortc's way.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final, cast

from aioice import stun
from aiortc import RTCDataChannel, RTCDataChannelParameters
from aiortc.rtcdtlstransport import RTCDtlsFingerprint, RTCDtlsParameters
from aiortc.rtcsctptransport import (
    DataChunk,
    RTCSctpCapabilities,
    RTCSctpTransport,
    parse_packet,
    tsn_plus_one,
)

from sfu.certificate import NodeCertificate
from sfu.dtls import DatagramPipe, DtlsTransport, run_now
from wire.session import Answer

SCTP_PORT: Final = 5000
MESSAGE_BYTES_MAX: Final = 65536
CHECK_INTERVAL_S: Final = 0.05  # RFC 8445: Ta
CONSENT_INTERVAL_S: Final = 5.0  # RFC 7675 section 5.1
DELAYED_ACK_S: Final = 0.2  # RFC 9260 section 6.2: of every second packet at the latest
RECEIVE_BUFFER_BYTES: Final = 256 * 1024
DATA, WHOLE, LAST = 0, 3, 1


class LeanAssociation(RTCSctpTransport):
    """aiortc's association with a short way for chunks that come in their order."""

    def __init__(self, dtls: DtlsTransport, hear: Callable[[bytes], None]) -> None:
        super().__init__(dtls, port=SCTP_PORT)
        self._hear = hear
        self._parts: list[DataChunk] = []
        self._unacknowledged = 0
        self._acknowledging: asyncio.TimerHandle | None = None

    async def _handle_data(self, data: bytes) -> None:
        if data[12] != DATA or self._sack_misordered or self._last_received_tsn is None:
            await self._long_way(data)
            return
        _, _, tag, chunks = parse_packet(data)  # checks the checksum
        tsn = self._last_received_tsn
        for chunk in chunks:
            following = tsn_plus_one(tsn)
            if not isinstance(chunk, DataChunk) or chunk.tsn != following or chunk.protocol == 50:
                await self._long_way(data)
                return
            tsn = following
        if tag != self._local_verification_tag:
            return
        self._last_received_tsn = tsn
        for chunk in chunks:
            self._take(cast(DataChunk, chunk))
        await self._acknowledge()

    def _take(self, chunk: DataChunk) -> None:
        kind = chunk.flags & WHOLE
        if kind == WHOLE:
            self._count_message(chunk.stream_id)
            self._hear(chunk.user_data)
            return
        self._parts.append(chunk)
        if kind & LAST:
            message = b"".join(part.user_data for part in self._parts)
            self._parts.clear()
            self._count_message(chunk.stream_id)
            self._hear(message)

    def _count_message(self, stream_id: int) -> None:
        stream = self._get_inbound_stream(stream_id)
        stream.sequence_number = (stream.sequence_number + 1) & 0xFFFF

    async def _long_way(self, data: bytes) -> None:
        """Let aiortc take a packet, with the parts that it has not seen."""
        for part in self._parts:
            self._get_inbound_stream(part.stream_id).add_chunk(part)
            self._advertised_rwnd -= len(part.user_data)
        self._parts.clear()
        await super()._handle_data(data)
        for stream in self._inbound_streams.values():
            if not self._sack_misordered and stream.reassembly:
                self._parts += stream.reassembly
                self._advertised_rwnd += sum(len(c.user_data) for c in stream.reassembly)
                stream.reassembly.clear()

    async def _acknowledge(self) -> None:
        self._unacknowledged += 1
        if self._unacknowledged >= 2:
            self._unacknowledged = 0
            if self._acknowledging is not None:
                self._acknowledging.cancel()
                self._acknowledging = None
            await self._send_sack()
        elif self._acknowledging is None:
            loop = asyncio.get_running_loop()
            self._acknowledging = loop.call_later(DELAYED_ACK_S, self._acknowledge_late)

    def _acknowledge_late(self) -> None:
        self._acknowledging = None
        self._unacknowledged = 0
        run_now(self._send_sack())

    def _set_state(self, state: RTCSctpTransport.State) -> None:
        if state == self.State.CLOSED and self._acknowledging is not None:
            self._acknowledging.cancel()
            self._acknowledging = None
        super()._set_state(state)


class Viewer(asyncio.DatagramProtocol):
    """One student's connection; `hear` gets the messages of the channel `live`."""

    def __init__(
        self, ufrag: str, certificate: NodeCertificate, hear: Callable[[bytes], None]
    ) -> None:
        self._ufrag = ufrag
        self._checked = asyncio.Event()
        self._udp = cast("asyncio.DatagramTransport", None)
        self._pipe = DatagramPipe(lambda datagram: self._udp.sendto(datagram))
        self._dtls = DtlsTransport(
            self._pipe, certificate, role="client", on_application_data=lambda: None
        )
        self._association = LeanAssociation(self._dtls, hear)
        self._channel: RTCDataChannel | None = None
        self._consent: asyncio.Task[None] | None = None
        self.is_deaf = False  # takes nothing from its socket's data any more

    async def connect(self, answer: Answer) -> None:
        """Check, shake hands and open the channel; raises TimeoutError."""
        (candidate, *_) = answer.candidates
        loop = asyncio.get_running_loop()
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        udp.setblocking(False)
        udp.connect((candidate.address, candidate.port))
        self._udp, _ = await loop.create_datagram_endpoint(lambda: self, sock=udp)
        async with asyncio.timeout(20):
            while not self._checked.is_set():
                self._check(answer)
                try:
                    async with asyncio.timeout(CHECK_INTERVAL_S):
                        await self._checked.wait()
                except TimeoutError:
                    continue
            fingerprint = RTCDtlsFingerprint(*answer.fingerprint)
            await self._dtls.start(RTCDtlsParameters(fingerprints=[fingerprint]))
            await self._association.start(RTCSctpCapabilities(MESSAGE_BYTES_MAX), SCTP_PORT)
            opened = asyncio.Event()
            self._channel = RTCDataChannel(
                self._association, RTCDataChannelParameters(label="live")
            )
            self._channel.on("open", opened.set)
            await opened.wait()
        self._consent = asyncio.create_task(self._keep_consent(answer))

    def say(self, data: bytes) -> None:
        assert self._channel is not None
        self._channel.send(data)

    async def close(self) -> None:
        if self._consent is not None:
            self._consent.cancel()
        await self._association.stop()
        await self._dtls.stop()
        self._udp.close()

    def datagram_received(self, data: bytes, addr: object) -> None:
        if data[0] < 4:
            self._checked.set()
        elif data[0] < 64 and not self.is_deaf:
            self._pipe.feed(data)

    async def _keep_consent(self, answer: Answer) -> None:
        while True:
            await asyncio.sleep(CONSENT_INTERVAL_S)
            self._check(answer)

    def _check(self, answer: Answer) -> None:
        message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
        message.attributes["USERNAME"] = f"{answer.ice_ufrag}:{self._ufrag}"
        message.attributes["PRIORITY"] = 1
        message.attributes["ICE-CONTROLLING"] = 1
        message.attributes["USE-CANDIDATE"] = None
        message.add_message_integrity(answer.ice_pwd.encode())
        message.add_fingerprint()
        self._udp.sendto(bytes(message))
