"""What a viewer who watches a still class costs a node in memory, and one who watches a moving one."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import accounting, native, peers
from benchmarks.children import Child
from benchmarks.limits import add_numbers, allow_descriptors, require
from benchmarks.node import MediaNode
from benchmarks.peers.lectern import LecternPeer
from benchmarks.registry import Benchmark, BenchmarkError
from benchmarks.report import Report, Value

DESCRIPTION = """\
Measure the memory of a whole node's process for each of its viewers, idle ones and active ones.

The viewers are real sessions: ICE, DTLS, an SCTP association with its data channel, consent checks. They join
in groups and stay. After every group the node's private memory (/proc/PID/smaps_rollup) is read when its
collector has run. In a first series nobody publishes, so that each viewer is idle.

The second series is on a node of its own. There a teacher's screen moves: 12 packets of 1150 bytes a frame,
played to nobody first, until the class's cache of packets is full. Then groups join as before, and after each
the screen moves for --watch seconds, while all viewers receive, report and give transport-wide feedback. The
memory is read while media flows. So what the class itself costs is there before the first viewer, and charged
to none.

  kib_per_viewer    private memory gained from the first group to the last, by viewer: what comes with the
                    first sessions (modules, buffers, the allocator's arenas) is not charged to them
  kib_per_active_viewer
                    the same of the second series
  idle_cpu_share    of a core, with all of them there: pings, acknowledgements, consent, reports
  active_cpu_share  of a core, with all of them there and media that flows
  viewers_with_media
                    who had nine tenths of the packets sent or more, with all of them there; the run
                    fails where somebody had not, after any group
"""
BOUNDS = {"kib_per_viewer": 150.0, "kib_per_active_viewer": 200.0}
GROUPS_MIN = 3
READY_TIMEOUT_S = 20.0
GROUP_TIMEOUT_S = 120.0
CLASS_ID = "0197f0aa-0000-7000-8000-0000000000d0"
PACKETS_PER_FRAME, PACKET_BYTES = 12, 1150
# A node keeps packets for 6 s, and those since the last keyframe longer: a play begins with one.
CACHE_FILLS_S = 7.0
# After the last packet, until the clients have looked.
DRAIN_S = 1.0
# Of a watch: when the memory is read.
READ_AT_SHARE = 0.8


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    options: list[tuple[str, type, float, str]] = [
        ("viewers", int, 1000, "viewers at the end of each series"),
        ("groups", int, 5, "groups they join in"),
        ("idle", float, 6.0, "seconds of rest"),
        ("watch", float, 8.0, "seconds of media after each group of the second series"),
        ("fps", int, 3, "frames a second; the clients take some 40,000 packets a second in all"),
    ]
    add_numbers(parser, options)


def run(options: argparse.Namespace, report: Report) -> None:
    """Seat group after group, and read the node's memory; then again while a screen moves."""
    if not (GROUPS_MIN <= options.groups <= 100 and options.groups <= options.viewers <= 9000):
        raise BenchmarkError(
            f"At least {GROUPS_MIN} groups, of at most 9000 viewers, tell anything."
        )
    bounds = [
        ("--idle", 0.5 <= options.idle <= 600),
        ("--watch", 1 <= options.watch <= 600),
        ("--fps", 1 <= options.fps <= 60),
    ]
    require(bounds)
    allow_descriptors(options.viewers)
    generator = native.load_generator(report)
    try:
        _idle(report, options)
        _active(report, options, generator)
    finally:
        _tell(report)


def _idle(report: Report, options: argparse.Namespace) -> None:
    with ExitStack() as stack:
        node = stack.enter_context(MediaNode("127.0.0.1"))
        client = stack.enter_context(_client(node, options.viewers, CLASS_ID))
        _note(report, "groups", node, 0, {})
        for count, seated in _groups(options):
            _seat(client, count)
            _note(report, "groups", node, seated, {})
        _rest(report, node, client, options)


def _active(report: Report, options: argparse.Namespace, generator: Path) -> None:
    with ExitStack() as stack:
        peer = stack.enter_context(LecternPeer("127.0.0.1"))
        node = peer.node
        teacher = stack.enter_context(Child("load generator", [str(generator)]))
        load = f"load fps={options.fps} packets={PACKETS_PER_FRAME} bytes={PACKET_BYTES}"
        load += " spread_us=2000 feedback_ms=100 open_every=16"
        lines = ["node 127.0.0.1:9", load, *peers.connect(peer, 0), "ready", "join", ""]
        teacher.tell("\n".join(lines))
        teacher.hear("joined", within_s=READY_TIMEOUT_S)
        client = stack.enter_context(_client(node, options.viewers, peer.class_id, watches=True))
        _play(teacher, max(CACHE_FILLS_S, options.watch), options.fps)
        teacher.hear("played", within_s=CACHE_FILLS_S + options.watch + READY_TIMEOUT_S)
        _note(report, "active_groups", node, 0, {"viewers_with_media": 0, "cpu_share": 0.0}, 1)
        for count, seated in _groups(options):
            _seat(client, count)
            _watch(report, node, teacher, client, options, seated)


def _groups(options: argparse.Namespace) -> Iterator[tuple[int, int]]:
    """Yield the size of each group, and how many viewers are there with it."""
    before = 0
    for number in range(1, options.groups + 1):
        seated = options.viewers * number // options.groups
        yield seated - before, seated
        before = seated


def _seat(client: Child, count: int) -> None:
    client.tell(json.dumps({"do": "bell", "count": count}) + "\n")
    told = client.hear("bell", within_s=GROUP_TIMEOUT_S)
    if told["joined"] != count:
        raise BenchmarkError(f"{count - told['joined']} viewers have not joined.")


def _play(teacher: Child, seconds: float, fps: int) -> int:
    """Let the screen move for so long; return the packets of it. The end is to be heard."""
    frames = max(1, round(seconds * fps))
    teacher.tell(f"play {frames}\n")
    teacher.hear("begun", within_s=READY_TIMEOUT_S)
    return frames * PACKETS_PER_FRAME


def _watch(
    report: Report,
    node: MediaNode,
    teacher: Child,
    client: Child,
    options: argparse.Namespace,
    seated: int,
) -> None:
    packets = _play(teacher, options.watch, options.fps)
    order = {"do": "watch", "seconds": options.watch + DRAIN_S, "packets": packets}
    client.tell(json.dumps(order) + "\n")
    before_s, began_s = accounting.processor_s(node.pid), time.monotonic()
    time.sleep(options.watch * READ_AT_SHARE)
    used_s, seconds = accounting.processor_s(node.pid) - before_s, time.monotonic() - began_s
    found: dict[str, Any] = {"viewers_with_media": 0, "cpu_share": used_s / seconds}
    # The teacher has a session as well.
    _note(report, "active_groups", node, seated, found, others=1)
    told = client.hear("watch", within_s=options.watch + READY_TIMEOUT_S)
    teacher.hear("played", within_s=options.watch + READY_TIMEOUT_S)
    watched = told["watched"]
    report.tables["active_groups"][-1]["viewers_with_media"] = watched
    report.figures |= {
        "active_cpu_share": used_s / seconds,
        "active_clients_cpu_share": told["cpu_s"] / (options.watch + DRAIN_S),
        "viewers_with_media": watched,
        "active_packets_lost": told["missing"],
    }
    if watched != seated:
        report.expect("viewers_with_media == viewers", False)
    report.expectations.setdefault("viewers_with_media == viewers", True)


def _client(node: MediaNode, viewers: int, class_id: str, *, watches: bool = False) -> Child:
    child = Child("clients", [sys.executable, "-m", "benchmarks.clients.joiners"])
    order = {
        "path": node.socket_path,
        "secret": node.secret,
        "class_id": class_id,
        "channel": True,
        "picture": False,
        "watches": watches,
        "viewers_max": viewers,
        "ports": 0.0,
    }
    child.tell(json.dumps(order) + "\n")
    child.hear("ready", within_s=READY_TIMEOUT_S)
    return child


def _note(
    report: Report,
    table: str,
    node: MediaNode,
    viewers: int,
    found: dict[str, Any],
    others: int = 0,
) -> None:
    answer = node.ask("collect")
    sessions = answer["sessions"] - others
    if sessions != viewers:
        raise BenchmarkError(f"The node has {sessions} viewers' sessions instead of {viewers}.")
    memory = accounting.memory_kib(node.pid)
    row: dict[str, Any] = {
        "viewers": viewers,
        "private_mib": memory.private / 1024,
        "rss_mib": memory.rss / 1024,
        "tasks": answer["tasks"],
    }
    report.add_row(table, row | found)
    report.say(f"{viewers} viewers: {memory.private / 1024:.1f} MiB")


def _rest(report: Report, node: MediaNode, client: Child, options: argparse.Namespace) -> None:
    before_s, began_s = accounting.processor_s(node.pid), time.monotonic()
    client.tell(json.dumps({"do": "idle", "seconds": options.idle}) + "\n")
    told = client.hear("idle", within_s=options.idle + READY_TIMEOUT_S)
    used_s, seconds = accounting.processor_s(node.pid) - before_s, time.monotonic() - began_s
    left = node.ask("collect")["sessions"]
    report.figures |= {
        "idle_cpu_share": used_s / seconds,
        "idle_cpu_us_per_viewer_s": used_s * 1e6 / seconds / options.viewers,
        "clients_cpu_share": told["cpu_s"] / seconds,
        "viewers_lost": options.viewers - left,
    }
    report.expect("viewers_lost == 0", left == options.viewers)


def _tell(report: Report) -> None:
    slopes: dict[str, Value] = {}
    for table, name in zip(("groups", "active_groups"), BOUNDS, strict=True):
        rows = report.tables.get(table, [])[1:]
        if len(rows) >= GROUPS_MIN:
            viewers = [float(str(row["viewers"])) for row in rows]
            private_kib = [float(str(row["private_mib"])) * 1024 for row in rows]
            slope = statistics.linear_regression(viewers, private_kib).slope
            slopes[name] = slope
            bound = BOUNDS[name]
            report.expect(f"{name} <= {bound:g}", slope <= bound)
            report.figures = {"viewers": rows[-1]["viewers"]} | report.figures
    report.figures = slopes | report.figures


BENCHMARK = Benchmark(DESCRIPTION, add_options, run)
