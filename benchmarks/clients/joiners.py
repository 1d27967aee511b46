"""A process of many viewers that join a node: one thread without asyncio, to keep up with the node.

The first line on standard input says which node and class; then come orders, one a line, each answered by one
line of JSON. It ends when its input does.
"""

from __future__ import annotations

import gc
import json
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from benchmarks.clients.channel import Channel
from benchmarks.clients.frames import FirstFrame
from benchmarks.clients.handshake import Handshake, bound_socket, drain, start_ports_at
from benchmarks.clients.watcher import Watcher
from benchmarks.limits import allow_descriptors
from benchmarks.node.api import remote_of, request_bytes
from benchmarks.node.offers import TRANSPORT_CC_ID, VP8_PAYLOAD_TYPE, again, opening
from wire import codec
from wire.session import CloseSession, OpenSession, SessionOpened

# Kept connections to the node's internal API, as a `web` process has them.
CONNECTIONS = 16
ANSWER_BYTES_MAX = 65536
# A viewer that does not get there in this time has failed.
JOIN_S_MAX = 20.0
POLL_S = 0.01
REMIND_INTERVAL_S = 0.01
CONSENT_INTERVAL_S = 4.0  # RFC 7675 section 5.1: every 5 s, less or more by a fifth
# Holds a few seconds of the class while this process is behind; what plays already is cut to the lesser
# one, and the kernel drops the rest.
RECEIVE_BUFFER_BYTES = 1 << 20
UNREAD_BYTES = 16 * 1024
SO_RCVBUFFORCE = 33  # socket(7); Python has no name for it
CHANNEL_RETRY_S = 1.0  # RFC 9260 section 16: RTO.Initial
# Of encrypted packets that come before the keys.
EARLY_MAX = 256


class Joiner:
    """One viewer; times are ms after its click."""

    __slots__ = (
        "channel",
        "channel_s",
        "clicked_s",
        "early",
        "frame",
        "hand",
        "opening",
        "request",
        "ssrc",
        "times",
        "wants_picture",
        "watcher",
        "watches",
    )

    def __init__(
        self, message: OpenSession, secret: str, *, wants_picture: bool, watches: bool = False
    ) -> None:
        self.opening = message
        self.wants_picture = wants_picture
        self.watches = watches
        self.watcher: Watcher | None = None
        self.ssrc = 0
        self.request = request_bytes(message, secret)
        self.times: dict[str, float] = {}
        self.hand: Handshake | None = None
        self.channel: Channel | None = None
        self.channel_s = 0.0  # when it was asked for
        self.frame: FirstFrame | None = None
        self.early: list[bytes] = []
        self.clicked_s = 0.0

    def note(self, what: str, now_s: float) -> None:
        self.times.setdefault(what, (now_s - self.clicked_s) * 1000)

    @property
    def is_done(self) -> bool:
        wants_channel = self.opening.offer.sctp_port is not None
        pictured = "frame" in self.times or ("keys" in self.times and not self.wants_picture)
        return pictured and ("channel" in self.times or not wants_channel)

    def answered(self, body: bytes, now_s: float) -> Handshake:
        """Take the node's answer and send the first check."""
        self.note("answer", now_s)
        made = bound_socket()
        _set_buffer(made, RECEIVE_BUFFER_BYTES)
        answer = codec.unpack(SessionOpened, body).answer
        self.ssrc = answer.outgoing["0"].ssrc
        self.hand = Handshake(remote_of(answer), made)
        self.hand.start(now_s)
        return self.hand

    def take(self, datagram: bytes, now_s: float) -> None:
        """Take a datagram of the node."""
        assert self.hand is not None
        if not datagram or datagram[0] < 64:
            had_keys = self.hand.keys is not None
            self.hand.take(datagram, now_s)
            if not had_keys and self.hand.keys is not None:
                self._connected(now_s)
        elif self.watcher is not None:
            self.watcher.take(datagram, now_s)
        elif self.frame is not None:
            self._media(datagram, now_s)
        elif len(self.early) < EARLY_MAX:
            self.early.append(datagram)

    def remind(self, now_s: float) -> None:
        """Send again what was not answered in time."""
        hand, channel = self.hand, self.channel
        if hand is not None and hand.keys is None and hand.due_s <= now_s:
            hand.remind(now_s)
        elif self.watcher is not None:
            self.watcher.remind(now_s)
        if (
            channel is not None
            and not channel.messages
            and now_s > self.channel_s + CHANNEL_RETRY_S
        ):
            self.channel_s = now_s
            channel.begin()

    def _connected(self, now_s: float) -> None:
        assert self.hand is not None and self.hand.keys is not None
        self.note("keys", now_s)
        self.frame = FirstFrame(self.hand.keys, VP8_PAYLOAD_TYPE)
        if self.watches:
            send = self.hand.socket.send
            self.watcher = Watcher(self.hand.keys, self.ssrc, TRANSPORT_CC_ID, send)
        if self.opening.offer.sctp_port is not None:
            self.channel = Channel(self.hand.send_data)
            self.hand.on_data = self._data
            self.channel.begin()
            self.channel_s = now_s
        for datagram in self.early:
            self._media(datagram, now_s)
        self.early.clear()

    def _media(self, datagram: bytes, now_s: float) -> None:
        assert self.frame is not None
        if "frame" not in self.times:
            complete = self.frame.take(datagram)
            if self.frame.packets:
                self.note("packet", now_s)
            if complete:
                self.note("frame", now_s)

    def _data(self, data: bytes) -> None:
        assert self.channel is not None
        self.channel.take(data)
        if self.channel.messages:
            self.note("channel", time.monotonic())


class Api:
    """Kept connections to the node's API; requests beyond them wait in order."""

    def __init__(self, path: str, poll: select.epoll) -> None:
        self._free: list[socket.socket] = []
        self._busy: dict[int, tuple[socket.socket, Joiner | None, bytearray]] = {}
        self._waiting: deque[tuple[bytes, Joiner | None]] = deque()
        for _ in range(CONNECTIONS):
            made = socket.socket(socket.AF_UNIX)
            made.connect(path)
            poll.register(made.fileno(), select.EPOLLIN)
            self._free.append(made)

    @property
    def is_idle(self) -> bool:
        return not self._busy and not self._waiting

    def call(self, request: bytes, joiner: Joiner | None) -> None:
        """Send a request when a connection is free; the answer to `joiner` comes out of `take`."""
        self._waiting.append((request, joiner))
        self._send()

    def take(self, descriptor: int) -> Iterator[tuple[Joiner, bytes]]:
        """Read from a connection; yield the whole answer of a joiner that got one."""
        connection, joiner, buffer = self._busy[descriptor]
        buffer += connection.recv(ANSWER_BYTES_MAX)
        head, ended, body = bytes(buffer).partition(b"\r\n\r\n")
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        if not ended or len(body) < length:
            return
        del self._busy[descriptor]
        self._free.append(connection)
        self._send()
        if not head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 204")):
            raise RuntimeError(f"the node answered {head.partition(b' ')[2][:3].decode()}")
        if joiner is not None:
            yield joiner, body

    def has(self, descriptor: int) -> bool:
        return descriptor in self._busy

    def _send(self) -> None:
        while self._free and self._waiting:
            connection = self._free.pop()
            request, joiner = self._waiting.popleft()
            connection.sendall(request)
            self._busy[connection.fileno()] = (connection, joiner, bytearray())


class Joiners:
    """All viewers of this process."""

    def __init__(self, order: dict[str, Any]) -> None:
        self._secret: str = order["secret"]
        self._poll = select.epoll()
        self._api = Api(order["path"], self._poll)
        self._pattern = opening(order["class_id"], "viewer", channel=order["channel"])
        self._wants_picture: bool = order.get("picture", True)
        self._watches: bool = order.get("watches", False)
        self._by_descriptor: dict[int, Joiner] = {}
        self._there: list[Joiner] = []  # joined, and kept
        self._done: list[Joiner] = []
        self._remind_s = 0.0
        self._consent_s = 0.0

    def prepare(self, count: int) -> list[Joiner]:
        return [
            Joiner(
                again(self._pattern),
                self._secret,
                wants_picture=self._wants_picture,
                watches=self._watches,
            )
            for _ in range(count)
        ]

    def bell(self, count: int) -> dict[str, Any]:
        """Let so many join at once and stay."""
        joiners = self.prepare(count)
        cpu_s, began_s = time.process_time(), time.monotonic()
        self._done = []
        for joiner in joiners:
            self._click(joiner)
        while len(self._done) < count and time.monotonic() - began_s < JOIN_S_MAX:
            self._turn(POLL_S)
        took_s = time.monotonic() - began_s
        self._there += self._done
        return self._told(self._done, count, took_s, time.process_time() - cpu_s)

    def sustain(self, seconds: float, at_once: int, class_id: str | None = None) -> dict[str, Any]:
        """Keep so many joins on their way; who has joined leaves again. `class_id`: to another class."""
        if class_id is not None:
            self._pattern = replace(self._pattern, class_id=class_id)
        cpu_s, began_s = time.process_time(), time.monotonic()
        self._done, begun = [], 0
        while (now_s := time.monotonic()) - began_s < seconds + JOIN_S_MAX:
            while now_s - began_s < seconds and begun - len(self._done) < at_once:
                self._click(self.prepare(1)[0])
                begun += 1
            if now_s - began_s >= seconds and len(self._done) == begun:
                break
            before = len(self._done)
            self._turn(POLL_S)
            for joiner in self._done[before:]:
                self._leave(joiner)
        took_s = time.monotonic() - began_s
        while not self._api.is_idle:
            self._turn(POLL_S)
        return self._told(self._done, begun, took_s, time.process_time() - cpu_s)

    def idle(self, seconds: float) -> dict[str, Any]:
        """Keep those who are there alive: checks of consent, and answers to the channel."""
        cpu_s, ends_s = time.process_time(), time.monotonic() + seconds
        while time.monotonic() < ends_s:
            self._turn(POLL_S)
        return {"there": len(self._there), "cpu_s": time.process_time() - cpu_s}

    def watch(self, seconds: float, packets: int) -> dict[str, Any]:
        """Count what comes for so long; `packets` are meant for each, `watched` have nine tenths of them."""
        watchers = [one.watcher for one in self._there if one.watcher is not None]
        for watcher in watchers:
            watcher.packets = watcher.missing = 0
        told = self.idle(seconds)
        watched = sum(10 * one.packets >= 9 * packets for one in watchers)
        return told | {"watched": watched, "missing": sum(one.missing for one in watchers)}

    def leave(self) -> dict[str, Any]:
        """Let all leave."""
        left = len(self._there)
        for joiner in self._there:
            self._leave(joiner)
        self._there = []
        while not self._api.is_idle:
            self._turn(POLL_S)
        return {"left": left}

    def _click(self, joiner: Joiner) -> None:
        joiner.clicked_s = time.monotonic()
        self._api.call(joiner.request, joiner)

    def _turn(self, wait_s: float) -> None:
        """Serve what has come, and whose time has come."""
        for descriptor, _ in self._poll.poll(wait_s):
            if self._api.has(descriptor):
                for joiner, body in self._api.take(descriptor):
                    hand = joiner.answered(body, time.monotonic())
                    self._by_descriptor[hand.socket.fileno()] = joiner
                    self._poll.register(hand.socket.fileno(), select.EPOLLIN)
                continue
            found = self._by_descriptor.get(descriptor)
            if found is None or found.hand is None:
                continue
            was_done = found.is_done
            drain(found.hand.socket, found.take)
            if found.is_done and not was_done:
                self._joined(found)
        now_s = time.monotonic()
        if now_s >= self._remind_s:
            self._remind_s = now_s + REMIND_INTERVAL_S
            self._remind(now_s)
        if now_s >= self._consent_s:
            self._consent_s = now_s + CONSENT_INTERVAL_S
            for joiner in self._there:
                if joiner.hand is not None:
                    joiner.hand.check(now_s)

    def _joined(self, joiner: Joiner) -> None:
        assert joiner.hand is not None
        self._done.append(joiner)
        if joiner.watcher is None:
            _set_buffer(joiner.hand.socket, UNREAD_BYTES)
        if joiner.channel is None:
            # It stays, and nobody reads: what its media costs is not of this process.
            self._poll.unregister(joiner.hand.socket.fileno())
            del self._by_descriptor[joiner.hand.socket.fileno()]

    def _remind(self, now_s: float) -> None:
        for joiner in self._by_descriptor.values():
            joiner.remind(now_s)

    def _leave(self, joiner: Joiner) -> None:
        assert joiner.hand is not None
        body = codec.pack(CloseSession(joiner.opening.fence, "left"))
        head = f"DELETE /sessions/{joiner.opening.session_id} HTTP/1.1\r\nHost: node\r\n"
        head += f"Authorization: Bearer {self._secret}\r\nContent-Length: {len(body)}\r\n\r\n"
        self._api.call(head.encode() + body, None)
        if self._by_descriptor.pop(joiner.hand.socket.fileno(), None) is not None:
            self._poll.unregister(joiner.hand.socket.fileno())
        joiner.hand.socket.close()

    def _told(
        self, joined: list[Joiner], clicked: int, took_s: float, cpu_s: float
    ) -> dict[str, Any]:
        names = ("answer", "keys", "packet", "frame", "channel")
        return {
            "clicked": clicked,
            "joined": len(joined),
            "took_s": took_s,
            "cpu_s": cpu_s,
            "times_ms": {
                name: [round(j.times[name], 2) for j in joined if name in j.times] for name in names
            },
        }


def _set_buffer(one: socket.socket, size: int) -> None:
    try:
        one.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, size)
    except PermissionError:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)


def main() -> None:
    """Serve one parent."""
    order = json.loads(sys.stdin.readline())
    allow_descriptors(order["viewers_max"])
    start_ports_at(order["ports"])
    joiners = Joiners(order)
    joiners.prepare(1)
    gc.freeze()
    _say({"event": "ready"})
    while line := sys.stdin.readline():
        asked = json.loads(line)
        what = asked.pop("do")
        _say({"event": what} | getattr(joiners, what)(**asked))


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
