"""A viewer's side of a stream that moves: counts packets by their headers, and reports as browsers do."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pylibsrtp
from aiortc.rtp import (
    RTCP_RTPFB,
    RtcpReceiverInfo,
    RtcpRrPacket,
    unpack_header_extensions,
)

from benchmarks.clients.frames import PROFILES
from benchmarks.clients.handshake import Keys

OUR_SSRC = 1
TRANSPORT_CC = 15  # FMT of draft-holmer-rmcat-transport-wide-cc-extensions-01
LARGE_DELTA = 2  # a packet's status whose delta takes 16 bits
DELTAS_PER_S = 4000  # 250 us
DELTAS_PER_REFERENCE = 256  # 64 ms
REPORT_INTERVAL_S = 1.0
FEEDBACK_INTERVAL_S = 0.1
DELTA_MAX = 0x7FFF
# Of one feedback, which has to fit into a datagram; the rest is not told.
NUMBERS_MAX = 512
ONE_BYTE_PROFILE = 0xBEDE  # RFC 8285 section 4.2
ONE_BYTE_EXTENSIONS = ONE_BYTE_PROFILE.to_bytes(2, "big")


class Watcher:
    """Counts one stream's packets, and gives the node the feedback that a browser gives."""

    __slots__ = (
        "_came",
        "_count",
        "_due_s",
        "_extension",
        "_highest",
        "_protect",
        "_reported_s",
        "_send",
        "_ssrc",
        "missing",
        "packets",
    )

    def __init__(
        self, keys: Keys, ssrc: int, transport_cc_id: int, send: Callable[[bytes], object]
    ) -> None:
        policy = pylibsrtp.Policy(
            key=keys.local,
            ssrc_type=pylibsrtp.Policy.SSRC_ANY_OUTBOUND,
            srtp_profile=PROFILES[keys.profile],
        )
        self._protect = pylibsrtp.Session(policy).protect_rtcp
        self._send = send
        self._ssrc = ssrc
        self._extension = transport_cc_id
        self._highest = -1  # the extended highest sequence number (RFC 3550 section 6.4.1)
        self._reported_s = 0.0
        self._due_s = 0.0
        self._count = 0  # of feedback packets
        # Transport-wide numbers in a row that are not fed back yet, and when they came.
        self._came: list[tuple[int, float]] = []
        self.packets = 0
        self.missing = 0  # passed over, and not seen since

    def take(self, datagram: bytes, now_s: float) -> None:
        """Take what is no handshake and no check; RTCP is passed over."""
        if len(datagram) < 20 or 192 <= datagram[1] < 224:  # RFC 5761 section 4
            return
        self._note_number(datagram, now_s)
        if int.from_bytes(datagram[8:12], "big") != self._ssrc:
            return  # padding and repairs
        self.packets += 1
        sequence = int.from_bytes(datagram[2:4], "big")
        ahead = (sequence - self._highest) & 0xFFFF
        if self._highest < 0:
            self._highest = sequence
        elif ahead < 0x8000:
            self._highest += ahead
            self.missing += ahead - 1
        else:
            self.missing -= 1

    def remind(self, now_s: float) -> None:
        """Send what is due; nothing is where nothing has come."""
        if now_s < self._due_s or not self._came:
            return
        self._due_s = now_s + FEEDBACK_INTERVAL_S
        compound = b""
        if now_s - self._reported_s >= REPORT_INTERVAL_S:
            self._reported_s = now_s
            highest = self._highest & 0xFFFFFFFF
            report = RtcpReceiverInfo(self._ssrc, 0, 0, highest, jitter=0, lsr=0, dlsr=0)
            compound = bytes(RtcpRrPacket(OUR_SSRC, [report]))
        self._send(self._protect(compound + self._feedback()))

    def _note_number(self, datagram: bytes, now_s: float) -> None:
        number = _transport_number(datagram, self._extension)
        if number is None:
            return
        if self._came and number != (self._came[-1][0] + 1) & 0xFFFF:
            # Something is lost, which is not told: the next feedback begins behind it.
            self._came.clear()
        if len(self._came) < NUMBERS_MAX:
            self._came.append((number, now_s))

    def _feedback(self) -> bytes:
        """Return that the numbers noted have come, and forget them."""
        numbers, self._came = self._came, []
        ticks = [int(came_s * DELTAS_PER_S) for _, came_s in numbers]
        reference = ticks[0] // DELTAS_PER_REFERENCE
        before = [reference * DELTAS_PER_REFERENCE, *ticks]
        deltas = [min(at - last, DELTA_MAX) for at, last in zip(ticks, before, strict=False)]
        body = struct.pack("!LLHH", OUR_SSRC, self._ssrc, numbers[0][0], len(numbers))
        body += (reference & 0xFFFFFF).to_bytes(3, "big") + bytes([self._count])
        body += struct.pack(f"!H{len(deltas)}H", LARGE_DELTA << 13 | len(numbers), *deltas)
        body += bytes(-len(body) % 4)
        self._count = (self._count + 1) & 0xFF
        return struct.pack("!BBH", 0x80 | TRANSPORT_CC, RTCP_RTPFB, len(body) // 4) + body


def _transport_number(datagram: bytes, extension: int) -> int | None:
    """Return the transport-wide number of a packet with one-byte extensions, None where there is none."""
    at = 12 + 4 * (datagram[0] & 15)
    if not datagram[0] & 0x10 or datagram[at : at + 2] != ONE_BYTE_EXTENSIONS:
        return None
    end = at + 4 + 4 * int.from_bytes(datagram[at + 2 : at + 4], "big")
    try:
        found = dict(unpack_header_extensions(ONE_BYTE_PROFILE, datagram[at + 4 : end]))
    except ValueError:
        return None
    number = found.get(extension)
    return None if number is None else int.from_bytes(number[:2], "big")
