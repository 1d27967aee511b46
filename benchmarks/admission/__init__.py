"""`lectern bench admission`: seats taken per second, a race of everything, and how both age."""

from __future__ import annotations

import argparse

from benchmarks.registry import Benchmark
from benchmarks.report import Report

DESCRIPTION = """\
Measure admission: real web processes on a real, durable PostgreSQL, all on this machine, clients included.
A client is a task inside a web process that calls control as signaling does, by link; there is no HTTP and
no media. Each process has its own batches; delays are from the call to the committed answer.

Without a further option: a hot class and one-seat classes, with 1 and with 4 web processes, each as a
closed loop (every client joins again when it is answered: what can be had) and as an open loop (joins come
by chance at a rate, their delays counted from when they were due: what a bell costs). The rounds of a
closed loop are told one by one and judged by their medians; joins_per_s, p50_ms and p99_ms are those of
the worst scenario. The first joins of a process are not counted.
"""


def _add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--joins", type=int, default=30_000, metavar="N", help="joins per round [30000]")
    add("--rounds", type=int, default=3, metavar="N", help="rounds of each closed loop [3]")
    add("--clients", type=int, default=512, metavar="N", help="clients of a closed loop [512]")
    add("--rate", type=float, default=5000, metavar="N", help="joins/s of an open loop [5000]")


def _run(options: argparse.Namespace, report: Report) -> None:
    from benchmarks.admission import joins
    from benchmarks.admission.servers import servers

    report.say("starting PostgreSQL and Redis")
    with servers() as running:
        plan = joins.Plan(options.joins, options.rounds, options.clients, options.rate)
        joins.run(running, plan, report)


BENCHMARK = Benchmark(DESCRIPTION, _add_options, _run)
