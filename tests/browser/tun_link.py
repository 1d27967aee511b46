"""The process of a `LossyLink`: moves packets between two TUN devices, and loses, delays or overtakes some.

Stands alone on the standard library, so that it starts at once. It is told how to treat the packets
by lines of JSON on its standard input, and answers each with a line of counters.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import json
import os
import random
import select
import struct
import sys
import time
from typing import Any, Final

CLONE_NEWNET: Final = 0x40000000
TUNSETIFF: Final = 0x400454CA
IFF_TUN: Final = 0x0001
IFF_NO_PI: Final = 0x1000
PACKET_BYTES_MAX: Final = 65_536
PACKETS_PER_TURN_MAX: Final = 64
WAITING_PACKETS_MAX: Final = 20_000
UDP: Final = 17


class Direction:
    """Packets one way: `treat` decides about one, `deliver` writes those whose time has come."""

    def __init__(self, seed: int) -> None:
        self.loss = 0.0
        self.delay_s = 0.0
        self.jitter_s = 0.0  # up to so much more, evenly, without overtaking
        self.reorder = 0.0  # so many packets are late by reorder_s, and overtaken
        self.reorder_s = 0.0
        self.rate_bps: float | None = None
        self.queue_bytes = 256 * 1024
        self.drop_media = 0  # of the next datagrams of media, so many are dropped
        self.counters = dict.fromkeys(
            ("forwarded", "bytes", "lost", "outage", "media_dropped", "overflow", "reordered"), 0
        )
        self._random = random.Random(seed)
        # (when it arrives, its number): a number is given once, so packets are never compared.
        self._waiting: list[tuple[float, int, bytes]] = []
        self._number = 0
        self._line_free_at = 0.0
        self._in_order_at = 0.0
        self._dead_until = 0.0

    def set(self, settings: dict[str, Any], now: float) -> None:
        for name, value in settings.items():
            if name == "outage_s":
                self._dead_until = now + value
                continue
            if not hasattr(self, name) or name.startswith("_"):
                raise ValueError(f"a link has no {name}")
            setattr(self, name, value)

    def treat(self, packet: bytes, now: float) -> None:
        if now < self._dead_until:
            self.counters["outage"] += 1
            return
        if self.drop_media > 0 and is_media(packet):
            self.drop_media -= 1
            self.counters["media_dropped"] += 1
            return
        if self._random.random() < self.loss:
            self.counters["lost"] += 1
            return
        leaves_at = now
        if self.rate_bps is not None:
            # What is ahead in the queue is what the line has yet to send.
            queued_bytes = max(0.0, self._line_free_at - now) * self.rate_bps / 8
            if queued_bytes + len(packet) > self.queue_bytes:
                self.counters["overflow"] += 1
                return
            leaves_at = max(now, self._line_free_at) + len(packet) * 8 / self.rate_bps
            self._line_free_at = leaves_at
        if len(self._waiting) >= WAITING_PACKETS_MAX:
            self.counters["overflow"] += 1
            return
        self._number += 1
        heapq.heappush(self._waiting, (self._arrives_at(leaves_at), self._number, packet))

    def _arrives_at(self, leaves_at: float) -> float:
        arrives_at = leaves_at + self.delay_s
        if self.jitter_s > 0:
            arrives_at += self._random.random() * self.jitter_s
        if self.reorder > 0 and self._random.random() < self.reorder:
            self.counters["reordered"] += 1
            return max(arrives_at, self._in_order_at) + self.reorder_s
        self._in_order_at = max(arrives_at, self._in_order_at)
        return self._in_order_at

    def next_at(self) -> float | None:
        return self._waiting[0][0] if self._waiting else None

    def deliver(self, now: float, device: int) -> None:
        while self._waiting and self._waiting[0][0] <= now:
            _, _, packet = heapq.heappop(self._waiting)
            os.write(device, packet)
            self.counters["forwarded"] += 1
            self.counters["bytes"] += len(packet)


def is_media(packet: bytes) -> bool:
    """Whether an IPv4 packet carries SRTP or SRTCP (RFC 7983: 128..191)."""
    if packet[9] != UDP:
        return False
    payload = (packet[0] & 15) * 4 + 8
    return len(packet) > payload and packet[payload] >> 6 == 2


def open_tun(namespace: str, name: str) -> int:
    """Make a TUN device inside a namespace and return its descriptor."""
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    if ctypes.CDLL(None, use_errno=True).setns(there, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")
    os.close(there)
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return device


def move(device: int, direction: Direction) -> None:
    """Take what a device has to send."""
    for _ in range(PACKETS_PER_TURN_MAX):
        try:
            packet = os.read(device, PACKET_BYTES_MAX)
        except BlockingIOError:
            return
        if packet[0] >> 4 == 4:  # the kernel's own IPv6 chatter would use up the seed's numbers
            direction.treat(packet, time.monotonic())


def main(near: str, far: str, name: str, seed: int) -> None:
    os.nice(-10)  # a link keeps its time whatever runs beside it
    devices = [open_tun(near, name), open_tun(far, name)]
    towards = {"far": Direction(seed), "near": Direction(seed + 1)}
    ways = [
        (devices[0], towards["far"], devices[1]),
        (devices[1], towards["near"], devices[0]),
    ]
    print(json.dumps({"ready": True}), flush=True)
    while True:
        now = time.monotonic()
        at = min((t for _, way, _ in ways if (t := way.next_at()) is not None), default=None)
        timeout = None if at is None else max(0.0, at - now)
        ready, _, _ = select.select([*devices, sys.stdin], [], [], timeout)
        for source, way, target in ways:
            if source in ready:
                move(source, way)
            way.deliver(time.monotonic(), target)
        if sys.stdin in ready:
            line = sys.stdin.readline()
            if not line:
                return
            for end, settings in json.loads(line).items():
                towards[end].set(settings, time.monotonic())
            print(json.dumps({end: way.counters for end, way in towards.items()}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
