"""The honest class: a teacher and viewers that check every packet, in a process of their own.

The first line on standard input says where the node is; then come orders, one a line, each answered by
one line of JSON. It plays from its start until its input ends. Viewers ask for nothing again: what is
lost is seen.
"""

from __future__ import annotations

import json
import re
import select
import socket
import struct
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from typing import Any

import pylibsrtp

from benchmarks.clients.frames import PROFILES
from benchmarks.clients.handshake import (
    Handshake,
    Keys,
    Remote,
    bound_socket,
    shake_hands,
    start_ports_at,
)
from benchmarks.node.api import NodeApi, remote_of
from benchmarks.node.offers import VP8_PAYLOAD_TYPE, new_ssrc
from tests.attacks.offers import opening_without_estimate, whep_offer, whip_offer

VIEWERS = 4
FPS = 25
PACKETS_PER_FRAME = 8
KEYFRAME_EVERY = 25
PAYLOAD_BYTES = 1000
CONSENT_INTERVAL_S = 2.0
ARRIVE_S_MAX = 1.0  # after the last packet that counts was sent
RECEIVE_BUFFER_BYTES = 1 << 20
CAPTURED_MAX = 200
VIDEO_CLOCK_HZ = 90_000
# S and X of the descriptor and a picture id, then VP8's frame tag (RFC 7741 section 4.2).
HEAD_BYTES = 14
LABEL = struct.Struct("!Qd")  # the packet's number, and when it was sent
KEY_TAG = bytes([0x10, 0x02, 0x00, 0x9D, 0x01, 0x2A, 0x00, 0x05, 0xD0, 0x02])
INTER_TAG = bytes([0x11, 0x02, 0x00]) + bytes(7)
PATTERN = bytes((at * 7 + (at >> 8)) & 0xFF for at in range(PAYLOAD_BYTES + 256))


def payload_of(number: int, now_s: float) -> bytes:
    """Return what packet `number` of the class carries."""
    frame, packet = divmod(number, PACKETS_PER_FRAME)
    key = frame % KEYFRAME_EVERY == 0
    head = struct.pack("!BBH", 0x90 if packet == 0 else 0x80, 0x80, 0x8000 | frame & 0x7FFF)
    label = LABEL.pack(number, now_s)
    begun = head + (KEY_TAG if key else INTER_TAG) + label
    at = number & 0xFF
    return begun + PATTERN[at : at + PAYLOAD_BYTES - len(begun)]


def session_of(keys: Keys, *, sends: bool) -> pylibsrtp.Session:
    """Return libsrtp's half of a session, to seal or to open any stream."""
    policy = pylibsrtp.Policy
    return pylibsrtp.Session(
        policy(
            key=keys.local if sends else keys.remote,
            ssrc_type=policy.SSRC_ANY_OUTBOUND if sends else policy.SSRC_ANY_INBOUND,
            srtp_profile=PROFILES[keys.profile],
        )
    )


@dataclass
class Viewer:
    hand: Handshake
    opener: pylibsrtp.Session
    ssrc: int
    received: set[int] = field(default_factory=set)
    failed: int = 0
    delays_s: list[float] = field(default_factory=list)

    def take(self, datagram: bytes, now_s: float) -> None:
        if datagram[0] < 64:
            self.hand.take(datagram, now_s)
            return
        if datagram[1] & 0x7F != VP8_PAYLOAD_TYPE:
            return
        try:
            packet = self.opener.unprotect(datagram)
        except pylibsrtp.Error:
            self.failed += 1
            return
        payload = packet[_payload_offset(packet) :][:PAYLOAD_BYTES]
        number, sent_s = LABEL.unpack_from(payload, HEAD_BYTES)
        if packet[8:12] != self.ssrc.to_bytes(4, "big") or payload != payload_of(number, sent_s):
            self.failed += 1
            return
        self.received.add(number)
        self.delays_s.append(now_s - sent_s)


@dataclass(frozen=True, slots=True)
class Place:
    """One session: where it connects to, the SSRC of its video, and its resource."""

    remote: Remote
    ssrc: int
    location: str


def by_node(path: str, secret: str, class_id: str) -> list[Place]:
    """Open the teacher's session and the viewers' over a node's internal API."""
    api, ssrc = NodeApi(path, secret), new_ssrc()
    teaching = opening_without_estimate(class_id, "publisher", sources={"video": ssrc})
    places = [Place(remote_of(api.open(teaching)), ssrc, teaching.session_id)]
    for _ in range(VIEWERS):
        watching = opening_without_estimate(class_id, "viewer")
        answer = api.open(watching)
        places.append(Place(remote_of(answer), answer.outgoing["0"].ssrc, watching.session_id))
    api.close()
    return places


def by_web(url: str, class_id: str, link: str, tokens: list[str]) -> list[Place]:
    """Open the teacher's session by WHIP and the viewers' by WHEP, each under an API token."""
    ssrc = new_ssrc()
    places = [_posted(f"{url}/live/classes/{class_id}/whip", tokens[0], whip_offer(ssrc), ssrc)]
    for token in tokens[1:]:
        places.append(_posted(f"{url}/live/links/{link}/whep", token, whep_offer(), None))
    return places


def _posted(address: str, token: str, offer: str, ssrc: int | None) -> Place:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/sdp"}
    request = urllib.request.Request(address, offer.encode(), headers)
    with urllib.request.urlopen(request, timeout=20) as response:
        answer, location = response.read().decode(), response.headers["Location"]

    def found(pattern: str) -> str:
        match = re.search(pattern, answer)
        assert match is not None, f"no {pattern} in {answer}"
        return match[1]

    port = int(found(r"a=candidate:\S+ 1 [Uu][Dd][Pp] \d+ 127\.0\.0\.1 (\d+)"))
    credentials = found(r"a=ice-ufrag:(\S+)"), found(r"a=ice-pwd:(\S+)")
    remote = Remote("127.0.0.1", port, *credentials, found(r"a=fingerprint:sha-256 (\S+)"))
    return Place(remote, ssrc or int(found(r"a=ssrc:(\d+) ")), location)


class HonestClass:
    """Everybody of the class; `turn` serves them for a moment."""

    def __init__(self, places: list[Place]) -> None:
        sockets = [bound_socket() for _ in places]
        for one in sockets:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        hands = [Handshake(place.remote, s) for place, s in zip(places, sockets, strict=True)]
        shake_hands(hands, within_s=20)
        self.ssrc = places[0].ssrc
        self.teacher = hands[0]
        self._sealer = session_of(_keys(self.teacher), sends=True)
        self._teachers_opener = session_of(_keys(self.teacher), sends=False)
        self.viewers = [
            Viewer(hand, session_of(_keys(hand), sends=False), place.ssrc)
            for hand, place in zip(hands[1:], places[1:], strict=True)
        ]
        self.locations = [place.location for place in places]
        self.captured: list[bytes] = []
        self.keyframes_asked = 0
        self._sent = 0
        self._began_s = self._consent_s = time.monotonic()
        self._counts_from = 0
        self._poll = select.epoll()
        self._by_descriptor: dict[int, Viewer | None] = {hands[0].socket.fileno(): None}
        self._by_descriptor |= {v.hand.socket.fileno(): v for v in self.viewers}
        for descriptor in self._by_descriptor:
            self._poll.register(descriptor, select.EPOLLIN)

    @property
    def facts(self) -> dict[str, Any]:
        """Return what a neighbour on the same machine could find out, and what it could not."""
        hands = [self.teacher, *(viewer.hand for viewer in self.viewers)]
        return {
            "event": "playing",
            "ssrc": self.ssrc,
            "locations": self.locations,
            "ports": [hand.port for hand in hands],
            "ufrags": [hand.remote.ice_ufrag for hand in hands],
            "viewers_ssrcs": [viewer.ssrc for viewer in self.viewers],
        }

    def turn(self) -> None:
        """Send the frames that are due and take what has come."""
        now_s = time.monotonic()
        while self._sent < (now_s - self._began_s) * FPS * PACKETS_PER_FRAME:
            self._send_frame(now_s)
        if now_s >= self._consent_s:
            self._consent_s = now_s + CONSENT_INTERVAL_S
            for hand in (self.teacher, *(viewer.hand for viewer in self.viewers)):
                hand.check(now_s)
        for descriptor, _ in self._poll.poll(0.005):
            viewer = self._by_descriptor[descriptor]
            self._drain(viewer, viewer.hand if viewer is not None else self.teacher)

    def begin(self) -> None:
        """Count from the next packet on."""
        self._counts_from = self._sent
        self.keyframes_asked = 0
        for viewer in self.viewers:
            viewer.received.clear()
            viewer.delays_s.clear()
            viewer.failed = 0

    def end(self) -> dict[str, Any]:
        """Return what became of the packets since `begin`, once they had the time to arrive."""
        while self._sent == self._counts_from:  # an attack shorter than a frame
            self.turn()
        counted = range(self._counts_from, self._sent)
        until_s = time.monotonic() + ARRIVE_S_MAX
        while time.monotonic() < until_s and not all(
            len(viewer.received.intersection(counted)) == len(counted) for viewer in self.viewers
        ):
            self.turn()
        delays_s = sorted(delay for viewer in self.viewers for delay in viewer.delays_s)
        return {
            "event": "end",
            "sent": len(counted),
            "received": [len(v.received.intersection(counted)) for v in self.viewers],
            "failed": sum(viewer.failed for viewer in self.viewers),
            "keyframes_asked": self.keyframes_asked,
            "delay_ms_p99": round(delays_s[len(delays_s) * 99 // 100] * 1000, 1) if delays_s else 0,
        }

    def _drain(self, viewer: Viewer | None, hand: Handshake) -> None:
        now_s = time.monotonic()
        while True:  # bounded by the socket's buffer
            try:
                datagram = hand.socket.recv(2048)
            except (BlockingIOError, ConnectionRefusedError):
                return
            if not datagram:
                continue
            if viewer is not None:
                viewer.take(datagram, now_s)
            elif datagram[0] < 64:
                hand.take(datagram, now_s)
            else:
                self._hear(datagram)

    def _hear(self, datagram: bytes) -> None:
        """Count the keyframes that the node asks the teacher for (PLI, RFC 4585 section 6.3.1)."""
        try:
            compound = self._teachers_opener.unprotect_rtcp(datagram)
        except pylibsrtp.Error:
            return
        at = 0
        while at + 4 <= len(compound):
            self.keyframes_asked += compound[at + 1] == 206 and compound[at] & 31 == 1
            at += 4 + 4 * int.from_bytes(compound[at + 2 : at + 4], "big")

    def _send_frame(self, now_s: float) -> None:
        for _ in range(PACKETS_PER_FRAME):
            number = self._sent
            frame, packet = divmod(number, PACKETS_PER_FRAME)
            marker = 0x80 if packet + 1 == PACKETS_PER_FRAME else 0
            timestamp = frame * (VIDEO_CLOCK_HZ // FPS) & 0xFFFFFFFF
            head = struct.pack(
                "!BBHLL",
                0x80,
                marker | VP8_PAYLOAD_TYPE,
                number & 0xFFFF,
                timestamp,
                self.ssrc,
            )
            sealed = self._sealer.protect(head + payload_of(number, now_s))
            self.captured = [*self.captured[-CAPTURED_MAX + 1 :], sealed]
            self.teacher.socket.send(sealed)
            self._sent += 1


def _keys(hand: Handshake) -> Keys:
    assert hand.keys is not None
    return hand.keys


def _payload_offset(packet: bytes) -> int:
    at = 12 + 4 * (packet[0] & 15)
    if packet[0] & 0x10:
        at += 4 + 4 * int.from_bytes(packet[at + 2 : at + 4], "big")
    return at


def main() -> None:
    """Play for one parent."""
    order = json.loads(sys.stdin.readline())
    start_ports_at(order.pop("ports"))
    honest = HonestClass(by_web(**order) if "url" in order else by_node(**order))
    while not all(viewer.received for viewer in honest.viewers):
        honest.turn()
    _say(honest.facts)
    asked = select.poll()
    asked.register(sys.stdin, select.POLLIN)
    while True:
        honest.turn()
        if not asked.poll(0):
            continue
        line = sys.stdin.readline()
        if not line:
            return
        what = json.loads(line)["do"]
        if what == "begin":
            honest.begin()
            _say({"event": "begin"})
        elif what == "end":
            _say(honest.end())
        elif what == "capture":
            _say({"event": "capture", "packets": [packet.hex() for packet in honest.captured]})


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
