"""What a join costs a node, how long a viewer waits for the picture, and what the others notice."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from benchmarks import accounting, native, peers
from benchmarks.children import Child
from benchmarks.limits import add_numbers, allow_descriptors, require
from benchmarks.peers.lectern import LecternPeer
from benchmarks.registry import Benchmark, BenchmarkError
from benchmarks.report import Report

DESCRIPTION = """\
Measure joins at a whole node: session opened over its internal API, ICE check, DTLS, data channel, picture.

The class plays all the time to a few native viewers. Viewers that join are Python without asyncio, in
processes of their own: their checks, DTLS 1.2 handshakes, SRTP and SCTP are real, and nothing is decoded.
What signaling and the database do before a node is asked is left out (`admission`).

  joins_per_s       joins, each with its leave, for each second of processor time of the node's process, while
                    joins went on as fast as the clients could, less what the class alone uses; so it is what
                    one core can sustain. `measured_joins_per_s` is how many there were; where the clients
                    saturate before the node, that says something about them
  first_packet_ms   from the click (the request to the node) to the first packet of media that opened
  first_frame_ms    to the last packet of the first keyframe without a gap
  bell_s            N viewers click at the same moment: until all of them have a picture and their channel
  delay_ms_p99      of the packets of those who watch already, from the teacher's socket to theirs: quiet,
                    during joins, and at the bell; `delay_added_ms_p99` is the difference to joins

The quantiles of first_* are of the sustained part; those at the bell begin with `bell_`.
"""
JOINS_PER_S_MIN = 350.0
BELL_S_MAX = 5.0
DELAY_ADDED_MS_MAX = 5.0
BELL_SIZE = 1000
# How long the class plays at the bell: longer than so many joins take.
BELL_SECONDS_MIN, BELL_PER_S = 1.0, 120
JOINS_MIN = 100
READY_TIMEOUT_S = 20.0
# Of a core: a client process that uses more of it is what was measured.
CLIENTS_SHARE_MAX = 0.9
NODE_SHARE_MIN = 0.9
WATCHERS = 20
FPS, PACKETS, PACKET_BYTES = 5, 10, 1150
FEEDBACK_MS = 100
QUANTILES = (50, 90, 99)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    options: list[tuple[str, type, float, str]] = [
        ("seconds", float, 8.0, "how long joins go on"),
        ("quiet", float, 4.0, "seconds of the class alone"),
        ("clients", int, 2, "processes of joining viewers"),
        ("at-once", int, 12, "joins on their way at once in each process"),
        ("bell", int, BELL_SIZE, "viewers that click at the same moment; 0 leaves it out"),
    ]
    add_numbers(parser, options)
    parser.add_argument(
        "--no-channel", action="store_true", help="viewers open no data channel (not our pages')"
    )
    parser.add_argument(
        "--profile",
        default=None,
        metavar="FILE",
        help="write what cProfile sees in the node (for pstats); the figures mean little then",
    )


def run(options: argparse.Namespace, report: Report) -> None:
    """Measure a quiet class, then joins that go on, then the bell."""
    _check(options)
    allow_descriptors(options.bell + 1000)
    generator = native.load_generator(report)
    with ExitStack() as stack:
        peer = stack.enter_context(LecternPeer("127.0.0.1", profile=options.profile))
        watchers = stack.enter_context(Child("load generator", [str(generator)]))
        watchers.tell(_plan(peers.connect(peer, WATCHERS)))
        watchers.hear("joined", within_s=READY_TIMEOUT_S)
        clients = [
            stack.enter_context(_client(peer, number, options)) for number in range(options.clients)
        ]
        quiet = _Window(peer, watchers, options.quiet)
        time.sleep(options.quiet)
        quiet.end()
        _sustain(report, peer, watchers, clients, options, quiet)
        if options.bell:
            _ring(report, peer, watchers, clients, options, quiet)


class _Window:
    """A stretch of the class's time: what the node used, and what those who watch saw."""

    def __init__(self, peer: LecternPeer, watchers: Child, seconds: float) -> None:
        self._peer, self._watchers = peer, watchers
        frames = max(1, round(seconds * FPS))
        watchers.tell(f"play {frames}\n")
        watchers.hear("begun", within_s=READY_TIMEOUT_S)
        self._began_s, self._cpu_s = time.monotonic(), self._used()
        self._seconds = frames / FPS
        self.seconds = self.cpu_s = 0.0
        self.played: dict[str, Any] = {}

    def stop_clock(self) -> None:
        """Take the node's time now; the class may go on."""
        self.seconds = time.monotonic() - self._began_s
        self.cpu_s = self._used() - self._cpu_s

    def end(self) -> None:
        """Wait for the class's end."""
        if not self.seconds:
            self.stop_clock()
        self.played = self._watchers.hear("played", within_s=self._seconds + READY_TIMEOUT_S)

    @property
    def delay_ms_p99(self) -> float:
        delay: float = self.played["delay_us_p99"] / 1000
        return delay

    def _used(self) -> float:
        return sum(map(accounting.processor_s, self._peer.pids))


def _check(options: argparse.Namespace) -> None:
    bounds = [
        ("--seconds", 1 <= options.seconds <= 3600),
        ("--quiet", 1 <= options.quiet <= 600),
        ("--clients", 1 <= options.clients <= 16),
        ("--at-once", 1 <= options.at_once <= 1000),
        ("--bell", 0 <= options.bell <= 5000),
    ]
    require(bounds)


def _plan(lines: Sequence[str]) -> str:
    load = (
        f"load fps={FPS} packets={PACKETS} bytes={PACKET_BYTES} spread_us=2000"
        f" feedback_ms={FEEDBACK_MS} open_every=1"
    )
    return "\n".join(["node 127.0.0.1:9", load, *lines, "ready", "join", ""])


def _client(peer: LecternPeer, number: int, options: argparse.Namespace) -> Child:
    child = Child(f"client {number}", [sys.executable, "-m", "benchmarks.clients.joiners"])
    order = {
        "path": peer.node.socket_path,
        "secret": peer.node.secret,
        "class_id": peer.class_id,
        "channel": not options.no_channel,
        "viewers_max": options.bell + 1000,
        # The first tenth is left to those who watch.
        "ports": 0.1 + 0.9 * number / options.clients,
    }
    child.tell(json.dumps(order) + "\n")
    child.hear("ready", within_s=READY_TIMEOUT_S)
    return child


def _sustain(
    report: Report,
    peer: LecternPeer,
    watchers: Child,
    clients: Sequence[Child],
    options: argparse.Namespace,
    quiet: _Window,
) -> None:
    window = _Window(peer, watchers, options.seconds)
    told = _all(clients, {"do": "sustain", "seconds": options.seconds, "at_once": options.at_once})
    window.stop_clock()
    window.end()
    joined = sum(one["joined"] for one in told)
    if joined < JOINS_MIN:
        raise BenchmarkError(f"{joined} joins are too few to tell anything.")
    joins_cpu_s = window.cpu_s - quiet.cpu_s / quiet.seconds * window.seconds
    node_share = window.cpu_s / window.seconds
    clients_share = max(one["cpu_s"] / one["took_s"] for one in told)
    saturated = "node" if node_share >= NODE_SHARE_MIN else "nothing"
    if saturated == "nothing" and clients_share >= CLIENTS_SHARE_MAX:
        saturated = "clients"
    failed = sum(one["clicked"] - one["joined"] for one in told)
    report.figures |= {
        "joins_per_s": joined / joins_cpu_s,
        "cpu_ms_per_join": joins_cpu_s * 1000 / joined,
        "measured_joins_per_s": joined / max(one["took_s"] for one in told),
        "joins": joined,
        "joins_failed": failed,
        "saturated": saturated,
        "node_cpu_share": node_share,
        "client_cpu_ms_per_join": sum(one["cpu_s"] for one in told) * 1000 / joined,
        "class_cpu_share": quiet.cpu_s / quiet.seconds,
        **_times("", told),
        "delay_ms_p99_quiet": quiet.delay_ms_p99,
        "delay_ms_p99": window.delay_ms_p99,
        "delay_added_ms_p99": window.delay_ms_p99 - quiet.delay_ms_p99,
        "packets_lost": _lost(window),
    }
    report.say(
        f"{joined} joins, {joins_cpu_s * 1000 / joined:.2f} ms of the node each; busiest: {saturated}"
    )
    report.expect(f"joins_per_s >= {JOINS_PER_S_MIN:g}", joined / joins_cpu_s >= JOINS_PER_S_MIN)
    added = window.delay_ms_p99 - quiet.delay_ms_p99
    report.expect(f"delay_added_ms_p99 <= {DELAY_ADDED_MS_MAX:g}", added <= DELAY_ADDED_MS_MAX)
    report.expect("joins_failed == 0", failed == 0)
    report.expect("packets_lost == 0", _lost(window) == 0)


def _ring(
    report: Report,
    peer: LecternPeer,
    watchers: Child,
    clients: Sequence[Child],
    options: argparse.Namespace,
    quiet: _Window,
) -> None:
    window = _Window(peer, watchers, BELL_SECONDS_MIN + options.bell / BELL_PER_S)
    shares = [options.bell // len(clients)] * len(clients)
    shares[0] += options.bell - sum(shares)
    for client, share in zip(clients, shares, strict=True):
        client.tell(json.dumps({"do": "bell", "count": share}) + "\n")
    told = [client.hear("bell", within_s=60) for client in clients]
    window.stop_clock()
    _all(clients, {"do": "leave"})
    window.end()
    joined, bell_s = sum(one["joined"] for one in told), max(one["took_s"] for one in told)
    report.figures |= {
        "bell": options.bell,
        "bell_joined": joined,
        "bell_s": bell_s,
        "bell_node_cpu_share": window.cpu_s / window.seconds,
        **_times("bell_", told),
        "bell_delay_ms_p99": window.delay_ms_p99,
        "bell_packets_lost": _lost(window),
    }
    report.say(f"the bell: {joined} of {options.bell} play after {bell_s:.2f} s")
    report.expect("bell_joined == bell", joined == options.bell)
    if options.bell == BELL_SIZE:
        report.expect(f"bell_s <= {BELL_S_MAX:g}", bell_s <= BELL_S_MAX)


def _all(clients: Sequence[Child], order: dict[str, Any]) -> list[dict[str, Any]]:
    for client in clients:
        client.tell(json.dumps(order) + "\n")
    within_s = order.get("seconds", 0) + 60
    return [client.hear(order["do"], within_s=within_s) for client in clients]


def _lost(window: _Window) -> int:
    lost: int = window.played["packets_expected"] - window.played["packets_received"]
    return lost


def _times(prefix: str, told: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return quantiles of the steps of a join."""
    figures = {}
    names = {"answer": "answer", "keys": "keys", "packet": "first_packet", "frame": "first_frame"}
    for key, name in (names | {"channel": "channel"}).items():
        times = [time_ms for one in told for time_ms in one["times_ms"][key]]
        if len(times) >= 2:
            cuts = statistics.quantiles(times, n=100, method="inclusive")
            for quantile in QUANTILES:
                figures[f"{prefix}{name}_ms_p{quantile}"] = cuts[quantile - 1]
    return figures


BENCHMARK = Benchmark(DESCRIPTION, add_options, run)
