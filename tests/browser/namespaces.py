"""Network namespaces: an empty one, two joined by a cable that can be cut or by a link that loses."""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.browser.browsers import CHROMIUM

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_numbers = itertools.count(1)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


class Namespace:
    """A network namespace with loopback up; `close` removes it and what is in it."""

    def __init__(self) -> None:
        self.name = f"lectern-{os.getpid()}-{next(_numbers)}"
        _ip("netns", "add", self.name)
        try:
            self.run("ip", "link", "set", "lo", "up")
        except BaseException:
            self.close()
            raise

    def run(self, *command: str) -> str:
        """Run a command inside, and return what it said."""
        done = subprocess.run(
            ["ip", "netns", "exec", self.name, *command], check=True, capture_output=True, text=True
        )
        return done.stdout

    def close(self) -> None:
        _ip("netns", "delete", self.name)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Be in the namespace: sockets and processes that this thread makes belong to it."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        try:
            _enter(there)
            try:
                yield
            finally:
                _enter(home)
        finally:
            os.close(home)
            os.close(there)

    def program(self, at: Path, path: str = CHROMIUM) -> str:
        """Write a program at `at` that runs `path` inside the namespace; return its path."""
        at.write_text(f'#!/bin/sh\nexec ip netns exec {self.name} {path} "$@"\n')
        at.chmod(0o755)
        return str(at)


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


FIREWALL = """
    add table inet firewall
    add chain inet firewall entry {{ type filter hook input priority 0; }}
    add rule inet firewall entry iifname "{end}" meta l4proto udp counter drop
"""


class Cable:
    """Two namespaces joined by a veth pair: `near` has NEAR, `far` has FAR."""

    NEAR = "10.77.0.1"
    FAR = "10.77.0.2"
    NETWORK_BITS = 24

    def __init__(self) -> None:
        self.near = Namespace()
        self.far = Namespace()
        number = f"{os.getpid() % 100000}"
        self._ends = (f"ln{number}", f"lf{number}")
        _ip("link", "add", self._ends[0], "type", "veth", "peer", "name", self._ends[1])
        for space, end, address in (
            (self.near, self._ends[0], self.NEAR),
            (self.far, self._ends[1], self.FAR),
        ):
            _ip("link", "set", end, "netns", space.name)
            # Addresses are ours alone: nobody has to be asked whether he has them (IPv6).
            nodad = ["nodad"] if ":" in address else []
            whole = f"{address}/{self.NETWORK_BITS}"
            space.run("ip", "addr", "add", whole, "dev", end, *nodad)
            space.run("ip", "link", "set", end, "up")
            # Without a default route Firefox gathers no candidate for a page that holds no mic.
            other = self.FAR if address == self.NEAR else self.NEAR
            space.run("ip", "route", "add", "default", "via", other)

    def cut(self) -> None:
        """Lose every packet, both ways; the interfaces stay up, as with a Wi-Fi that is gone.

        The kernel's own `blackhole` queue does it: netem is a module that not every kernel has.
        """
        for space, end in self._both():
            space.run("tc", "qdisc", "add", "dev", end, "root", "blackhole")

    def mend(self) -> None:
        for space, end in self._both():
            space.run("tc", "qdisc", "del", "dev", end, "root")

    def dropped(self) -> int:
        """Return how many packets the cut has swallowed so far, of both directions."""
        return sum(self._dropped(space, end) for space, end in self._both())

    def _dropped(self, space: Namespace, end: str) -> int:
        told = space.run("tc", "-s", "qdisc", "show", "dev", end)
        return sum(int(count) for count in re.findall(r"dropped (\d+)", told))

    def block_udp(self) -> None:
        """Lose every UDP datagram, both ways, as a firewall does that says nothing."""
        for space, end in self._both():
            space.run("nft", FIREWALL.format(end=end))

    def unblock_udp(self) -> None:
        """Let UDP pass, whether or not it was blocked."""
        for space, _ in self._both():
            space.run("nft", "add table inet firewall; delete table inet firewall")

    def blocked(self) -> int:
        """Return how many UDP datagrams the firewall has swallowed so far, of both directions."""
        told = (space.run("nft", "list", "table", "inet", "firewall") for space, _ in self._both())
        return sum(int(count) for text in told for count in re.findall(r"packets (\d+)", text))

    def _both(self) -> list[tuple[Namespace, str]]:
        return list(zip((self.near, self.far), self._ends, strict=True))

    def close(self) -> None:
        self.near.close()
        self.far.close()


class LossyLink:
    """Two namespaces joined by a line that loses, delays and limits: `near` has NEAR, `far` has FAR.

    A process of ours carries the packets between two TUN devices: netem is a module that not every
    kernel has. `seed` decides which packets are lost.
    """

    NEAR = "10.78.0.1"
    FAR = "10.78.0.2"
    DEVICE = "line"

    def __init__(self, seed: int = 1) -> None:
        self.near = Namespace()
        self.far = Namespace()
        program = str(Path(__file__).with_name("tun_link.py"))
        self._process = subprocess.Popen(
            [sys.executable, program, self.near.name, self.far.name, self.DEVICE, str(seed)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert self._answer() == {"ready": True}
            for space, here, there in (
                (self.near, self.NEAR, self.FAR),
                (self.far, self.FAR, self.NEAR),
            ):
                # Bursts wait in the device while the process is not running.
                space.run("ip", "link", "set", self.DEVICE, "txqueuelen", "5000", "up")
                space.run("ip", "addr", "add", here, "peer", there, "dev", self.DEVICE)
                space.run("ip", "route", "add", "default", "dev", self.DEVICE)
        except BaseException:
            self.close()
            raise

    def set(self, *, far: dict[str, Any] | None = None, near: dict[str, Any] | None = None) -> None:
        """Treat what goes towards an end from now on: loss (0..1), delay_s, rate_bps, queue_bytes,
        drop_media (so many of the next packets of media are dropped)."""
        self._ask({"far": far or {}, "near": near or {}})

    def set_both(self, **settings: Any) -> None:
        self.set(far=settings, near=settings)

    def counters(self) -> dict[str, dict[str, int]]:
        """Return by end {forwarded, bytes, lost, media_dropped, overflow}, and what the kernel lost."""
        counted = self._ask({})
        for end, space in (("far", self.near), ("near", self.far)):
            path = f"/sys/class/net/{self.DEVICE}/statistics/tx_dropped"
            counted[end]["unread"] = int(space.run("cat", path))
        return counted

    def _ask(self, settings: dict[str, Any]) -> dict[str, dict[str, int]]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(settings) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the link's process has ended"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
        self.near.close()
        self.far.close()


class Cable6(Cable):
    """The same without IPv4."""

    NEAR = "fd77::1"
    FAR = "fd77::2"
    NETWORK_BITS = 64
