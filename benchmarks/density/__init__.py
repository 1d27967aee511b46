"""What a viewer who watches a still class costs a node in memory, and one who watches a moving one."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from contextlib import ExitStack
from typing import Any

from benchmarks import accounting
from benchmarks.children import Child
from benchmarks.limits import allow_descriptors
from benchmarks.node import MediaNode
from benchmarks.registry import Benchmark, BenchmarkError
from benchmarks.report import Report

DESCRIPTION = """\
Measure the memory of a whole node's process for each of its viewers.

The viewers are real sessions: ICE, DTLS, an SCTP association with its data channel, consent checks. They join
in groups and stay; nobody publishes, so that each is idle. After every group the node's private memory
(/proc/PID/smaps_rollup) is read when its collector has run.

  kib_per_viewer    private memory gained from the first group to the last, by viewer: what comes with the
                    first sessions (modules, buffers, the allocator's arenas) is not charged to them
  idle_cpu_share    of a core, with all of them there: pings, acknowledgements, consent, reports
"""
KIB_PER_VIEWER_MAX = 150.0
GROUPS_MIN = 3
READY_TIMEOUT_S = 20.0
GROUP_TIMEOUT_S = 120.0
CLASS_ID = "0197f0aa-0000-7000-8000-0000000000d0"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument(
        "--viewers", type=int, default=1000, help="viewers at the end (default 1000)"
    )
    parser.add_argument("--groups", type=int, default=5, help="groups they join in (default 5)")
    parser.add_argument("--idle", type=float, default=6.0, help="seconds of rest (default 6)")


def run(options: argparse.Namespace, report: Report) -> None:
    """Seat group after group, and read the node's memory."""
    if not (GROUPS_MIN <= options.groups <= 100 and options.groups <= options.viewers <= 9000):
        raise BenchmarkError(
            f"At least {GROUPS_MIN} groups, of at most 9000 viewers, tell anything."
        )
    allow_descriptors(options.viewers)
    with ExitStack() as stack:
        node = stack.enter_context(MediaNode("127.0.0.1"))
        client = stack.enter_context(_client(node, options.viewers))
        _note(report, node, 0)
        for number in range(1, options.groups + 1):
            count = options.viewers * number // options.groups
            count -= options.viewers * (number - 1) // options.groups
            client.tell(json.dumps({"do": "bell", "count": count}) + "\n")
            told = client.hear("bell", within_s=GROUP_TIMEOUT_S)
            if told["joined"] != count:
                raise BenchmarkError(f"{count - told['joined']} viewers have not joined.")
            _note(report, node, options.viewers * number // options.groups)
        _rest(report, node, client, options)
    _tell(report)


def _client(node: MediaNode, viewers: int) -> Child:
    child = Child("clients", [sys.executable, "-m", "benchmarks.clients.joiners"])
    order = {
        "path": node.socket_path,
        "secret": node.secret,
        "class_id": CLASS_ID,
        "channel": True,
        "picture": False,
        "viewers_max": viewers,
        "ports": 0.0,
    }
    child.tell(json.dumps(order) + "\n")
    child.hear("ready", within_s=READY_TIMEOUT_S)
    return child


def _note(report: Report, node: MediaNode, viewers: int) -> None:
    answer = node.ask("collect")
    if answer["sessions"] != viewers:
        raise BenchmarkError(f"The node has {answer['sessions']} sessions instead of {viewers}.")
    memory = accounting.memory_kib(node.pid)
    row: dict[str, Any] = {
        "viewers": viewers,
        "private_mib": memory.private / 1024,
        "rss_mib": memory.rss / 1024,
        "tasks": answer["tasks"],
    }
    report.add_row("groups", row)
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
    rows = report.tables["groups"][1:]
    viewers = [float(str(row["viewers"])) for row in rows]
    private_kib = [float(str(row["private_mib"])) * 1024 for row in rows]
    slope = statistics.linear_regression(viewers, private_kib).slope
    report.figures = {"viewers": rows[-1]["viewers"], "kib_per_viewer": slope} | report.figures
    report.expect(f"kib_per_viewer <= {KIB_PER_VIEWER_MAX:g}", slope <= KIB_PER_VIEWER_MAX)


BENCHMARK = Benchmark(DESCRIPTION, add_options, run)
