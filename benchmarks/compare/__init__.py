"""What a packet costs us and what it costs a peer: the same source, the same native viewers, in turn."""

from __future__ import annotations

import argparse
import socket
import statistics
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import accounting, native, peers
from benchmarks.children import Child
from benchmarks.limits import add_numbers, allow_descriptors, require
from benchmarks.registry import Benchmark, BenchmarkError
from benchmarks.report import Report

DESCRIPTION = """\
Measure the processor time of a forwarded packet for Lectern and for its peers, in one run.

Every server runs as it is installed, in processes of its own, and is given one teacher and N viewers by the
same native generator: real ICE checks, DTLS with AES-128-GCM where the server takes it, receiver reports,
transport-wide feedback where it was negotiated, and every sequence number checked. The servers are all up
from the beginning and play in turn, round by round; the one that plays is charged with everything that its
processes used (/proc/PID/stat). All traffic goes to an address of this machine.

  ratio             the cheapest peer's CPU per packet divided by Lectern's, medians over the rounds
  us_per_packet     Lectern's; peer_us_per_packet the cheapest peer's; `peers` has all of them
  packets_lost      what should have come to a viewer and did not

Data channels are left out. Whoever cannot be measured here (the generator saturated, a debug build, nothing
sent by GSO, too little processor time to tell) makes the run end with a sentence instead of a figure.
Peers: janus-streaming, janus-videoroom (apt-get install janus). Another is one file in benchmarks/peers.
"""
RATIO_MIN = 5.0
VIEWERS_DEFAULT = 200
VIEWERS_MAX = 5000
JOIN_TIMEOUT_S = 35.0
BEGIN_TIMEOUT_S = 15.0
PLAY_TIMEOUT_S = 30.0
# Of the time of a round: beyond it the generator's own delays are what is measured.
GENERATOR_SHARE_MAX = 0.85
# /proc counts in 10 ms.
PROCESSOR_S_MIN = 0.2
US = "lectern"


@dataclass(slots=True)
class Side:
    """One server, its generator, and what it used round by round."""

    peer: peers.Peer
    generator: Child
    costs_us: list[float] = field(default_factory=list)
    cores: list[float] = field(default_factory=list)
    expected: int = 0
    received: int = 0
    failed: int = 0
    opened: int = 0
    delays_ms: list[float] = field(default_factory=list)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    options: list[tuple[str, type, float, str]] = [
        ("viewers", int, VIEWERS_DEFAULT, "viewers of every server"),
        ("fps", int, 10, "frames a second"),
        ("packets", int, 12, "packets of a frame"),
        ("packet-bytes", int, 1150, "bytes of a sealed packet"),
        ("spread-ms", float, 2.0, "time over which the teacher sends the packets of a frame"),
        ("warm-up", float, 2.0, "seconds of media before the first round"),
        ("window", float, 5.0, "seconds of each round"),
        ("rounds", int, 3, "rounds; the figures are medians of them"),
    ]
    add_numbers(parser, options)
    parser.add_argument(
        "--peers",
        default="janus-streaming,janus-videoroom",
        metavar="NAME[,NAME...]",
        help="whom to compare with (default janus-streaming,janus-videoroom)",
    )
    parser.add_argument(
        "--address",
        default=None,
        help="address of this machine that all servers listen on (default: that of its first interface;"
        " Janus takes no loopback address)",
    )


def run(options: argparse.Namespace, report: Report) -> None:
    """Start all servers, and let them play in turn."""
    _check(options)
    allow_descriptors(options.viewers * (1 + options.peers.count(",") + 1))
    generator = native.load_generator(report)
    address = options.address or own_address()
    names = [US, *options.peers.split(",")]
    sides: list[Side] = []
    report.figures |= {
        "viewers": options.viewers,
        "fps": options.fps,
        "packets_per_frame": options.packets,
        "packet_bytes": options.packet_bytes,
        "address": address,
    }
    with ExitStack() as stack:
        for name in names:
            sides.append(_start(name, address, options, generator, stack, report))
        try:
            for number in range(options.rounds + 1):
                for side in sides:
                    _play(side, options, report, number)
        finally:
            if all(side.costs_us for side in sides):
                _tell(report, sides)


def own_address() -> str:
    """Return the IPv4 address that this machine would send from; BenchmarkError where it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("198.51.100.1", 9))  # sends nothing; RFC 5737
        except OSError:
            raise BenchmarkError(
                "This machine has no address but loopback: name one with --address."
            ) from None
        address: str = probe.getsockname()[0]
    return address


def _check(options: argparse.Namespace) -> None:
    bounds = [
        ("--viewers", 1 <= options.viewers <= VIEWERS_MAX),
        ("--fps", 1 <= options.fps <= 120),
        ("--packets", 1 <= options.packets <= 256),
        ("--packet-bytes", 128 <= options.packet_bytes <= 1400),
        ("--spread-ms", 0 <= options.spread_ms * options.fps <= 1000),
        ("--window", 1 <= options.window <= 600),
        ("--warm-up", 0.5 <= options.warm_up <= 600),
        ("--rounds", 1 <= options.rounds <= 100),
    ]
    require(bounds)


def _start(
    name: str,
    address: str,
    options: argparse.Namespace,
    generator: Path,
    stack: ExitStack,
    report: Report,
) -> Side:
    peer = stack.enter_context(peers.make(name, address))
    lines = peers.connect(peer, options.viewers)
    child = stack.enter_context(Child(f"load generator of {name}", [str(generator)]))
    load = (
        f"load fps={options.fps} packets={options.packets} bytes={options.packet_bytes}"
        f" spread_us={round(options.spread_ms * 1000)} feedback_ms=100 open_every=16"
    )
    child.tell("\n".join([f"node {address}:9", load, *lines, "ready", "join", ""]))
    child.hear("joined", within_s=JOIN_TIMEOUT_S)
    report.say(f"{name} {peer.version}: {options.viewers} viewers are there")
    return Side(peer, child)


def _play(side: Side, options: argparse.Namespace, report: Report, number: int) -> None:
    """Play once; round 0 is the warm-up."""
    frames = max(1, round((options.window if number else options.warm_up) * options.fps))
    before_s = sum(map(accounting.processor_s, side.peer.pids))
    side.generator.tell(f"play {frames}\n")
    side.generator.hear("begun", within_s=BEGIN_TIMEOUT_S)
    played = side.generator.hear("played", within_s=frames / options.fps + PLAY_TIMEOUT_S)
    used_s = sum(map(accounting.processor_s, side.peer.pids)) - before_s
    name = side.peer.name
    if number == 0:
        return
    if played["packets_received"] == 0:
        raise BenchmarkError(f"{name} has forwarded nothing.")
    _refuse_what_says_nothing(name, used_s, played)
    side.costs_us.append(used_s * 1e6 / played["packets_received"])
    side.cores.append(used_s * 1e6 / played["took_us"])
    side.expected += played["packets_expected"]
    side.received += played["packets_received"]
    side.failed += played["packets_failed"]
    side.opened += played["packets_opened"]
    side.delays_ms.append(played["delay_us_p99"] / 1000)
    report.say(f"round {number}: {name} {side.costs_us[-1]:.2f} us a packet")


def _refuse_what_says_nothing(name: str, used_s: float, played: dict[str, Any]) -> None:
    share = played["generator_cpu_us"] / played["took_us"]
    if share > GENERATOR_SHARE_MAX:
        raise BenchmarkError(
            f"The generator used {share:.0%} of its core beside {name}: fewer --viewers or --fps."
        )
    if used_s < PROCESSOR_S_MIN:
        raise BenchmarkError(
            f"{name} used {used_s * 1000:.0f} ms in a round, too little to tell: more --viewers"
            " or a longer --window."
        )


def _tell(report: Report, sides: list[Side]) -> None:
    rows = {side.peer.name: _row(side) for side in sides}
    report.tables["peers"] = list(rows.values())
    costs = {name: statistics.median(side.costs_us) for name, side in zip(rows, sides, strict=True)}
    cheapest = min((name for name in costs if name != US), key=lambda name: costs[name])
    versions = {f"version_{side.peer.name}": side.peer.version for side in sides}
    report.figures |= {
        "ratio": costs[cheapest] / costs[US],
        "us_per_packet": costs[US],
        "peer": cheapest,
        "peer_us_per_packet": costs[cheapest],
        "packets": sum(side.received for side in sides),
        "packets_lost": rows[US]["packets_lost"],
        "peer_packets_lost": rows[cheapest]["packets_lost"],
        **versions,
    }
    report.expect(f"ratio >= {RATIO_MIN:g}", costs[cheapest] / costs[US] >= RATIO_MIN)
    report.expect("packets_lost == 0", rows[US]["packets_lost"] == 0)
    report.expect("packets_failed == 0", all(side.failed == 0 for side in sides))


def _row(side: Side) -> dict[str, Any]:
    return {
        "peer": side.peer.name,
        "version": side.peer.version,
        "us_per_packet": statistics.median(side.costs_us),
        "us_per_packet_min": min(side.costs_us),
        "us_per_packet_max": max(side.costs_us),
        "cores": statistics.median(side.cores),
        "packets": side.received,
        "packets_lost": side.expected - side.received,
        "packets_opened": side.opened,
        "packets_failed": side.failed,
        "delay_ms_p99": statistics.median(side.delays_ms),
    }


BENCHMARK = Benchmark(DESCRIPTION, add_options, run)
