"""When a viewer could show its first picture: the packets of one VP8 keyframe, opened, without a gap."""

from __future__ import annotations

import pylibsrtp

from benchmarks.clients.handshake import Keys

PROFILES = {
    "AEAD_AES_128_GCM": pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    "AES128_CM_SHA1_80": pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
}
# The generator's payloads: a descriptor of 4 bytes, then VP8's frame tag (RFC 7741 section 4.2).
DESCRIPTOR_BYTES = 4


class FirstFrame:
    """Takes sealed packets of one stream until a keyframe is whole."""

    def __init__(self, keys: Keys, payload_type: int) -> None:
        policy = pylibsrtp.Policy(
            key=keys.remote,
            ssrc_type=pylibsrtp.Policy.SSRC_ANY_INBOUND,
            srtp_profile=PROFILES[keys.profile],
        )
        self._opener = pylibsrtp.Session(policy)
        self._payload_type = payload_type
        self._first = self._last = -1
        self._numbers: set[int] = set()
        self._timestamp = b""
        self.packets = 0

    def take(self, datagram: bytes) -> bool:
        """Take a datagram; True: the keyframe is complete."""
        if len(datagram) < 20 or datagram[1] & 0x7F != self._payload_type:
            return False
        packet = self._opener.unprotect(datagram)
        self.packets += 1
        sequence, timestamp = int.from_bytes(packet[2:4], "big"), packet[4:8]
        if self._begins(packet):
            self._timestamp, self._first, self._last = timestamp, sequence, -1
            self._numbers = set()
        if timestamp == self._timestamp:
            self._numbers.add(sequence)
            if packet[1] & 0x80:
                self._last = sequence
        return self._last >= 0 and len(self._numbers) == (self._last - self._first & 0xFFFF) + 1

    def _begins(self, packet: bytes) -> bool:
        """Return whether it is the first packet of a keyframe."""
        payload = 12 + 4 * (packet[0] & 15)
        if packet[0] & 0x10:
            payload += 4 + 4 * int.from_bytes(packet[payload + 2 : payload + 4], "big")
        return packet[payload] & 0x10 != 0 and not packet[payload + DESCRIPTOR_BYTES] & 1
