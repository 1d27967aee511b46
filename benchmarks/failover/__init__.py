"""`lectern bench failover`: what a student notices when a media node dies."""

from __future__ import annotations

import argparse

from benchmarks.limits import require
from benchmarks.registry import Benchmark
from benchmarks.report import Report

DESCRIPTION = """\
Start a whole deployment, let classes run on its nodes, and take nodes away: killed (`kill`), stopped (`stop`,
SIGSTOP), cut off from the network while their internal HTTP goes on (`cut`, needs root: everything then runs
in a network namespace of its own), or drained (`drain`). Teachers and students are aiortc clients that
reconnect as the pages do: a second without a packet is a lost node, a `moved` message is followed before the
old session is left.

For each fault and student: the longest time between two packets of sound, which are 20 ms apart, the
teacher's way to the new node included. Reported by kind of fault: p50, p99 and the longest.
"""
KINDS = ("kill", "stop", "cut", "drain")


def _add_options(parser: argparse.ArgumentParser) -> None:
    def add(name: str, default: int, text: str) -> None:
        parser.add_argument(
            f"--{name}", type=int, default=default, metavar="N", help=f"{text} [{default}]"
        )

    add("nodes", 3, "media nodes")
    add("webs", 2, "web processes")
    add("classes", 2, "classes, each with a teacher")
    add("students", 4, "students of each class")
    add("rounds", 3, "faults of each kind")
    parser.add_argument(
        "--faults",
        default="kill,stop,drain",
        metavar="KIND[,KIND]",
        help=f"kinds of fault, of {', '.join(KINDS)} [kill,stop,drain]",
    )


def _run(options: argparse.Namespace, report: Report) -> None:
    from benchmarks.failover import run

    kinds = tuple(options.faults.split(","))
    bounds = [
        ("--nodes", 2 <= options.nodes <= 16),
        ("--webs", 1 <= options.webs <= 16),
        ("--classes", 1 <= options.classes <= 100),
        ("--students", 1 <= options.students <= 100),
        ("--rounds", 1 <= options.rounds <= 1000),
        ("--faults", set(kinds) <= set(KINDS)),
    ]
    require(bounds)
    run.run(options, kinds, report)


BENCHMARK = Benchmark(DESCRIPTION, _add_options, _run)
