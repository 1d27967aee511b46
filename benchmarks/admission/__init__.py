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

--race lets seeded tasks in several web processes join (also many classes at once, and by dead links),
leave, reload, take over, start, end, reopen and resize classes, rotate links, report from nodes, restart
nodes and let seats expire, while the invariants are asked of the database all the time; what clients were
told is held against the rows.

--rows N fills attendance with N segments first (10 million take some minutes and 5 GB), then measures pages
of attendance and joins. --churn N lets people join and leave N times and tells how the tables grow.
"""


def _add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--joins", type=int, default=30_000, metavar="N", help="joins per round [30000]")
    add("--rounds", type=int, default=3, metavar="N", help="rounds of each closed loop [3]")
    add("--clients", type=int, default=512, metavar="N", help="clients of a closed loop [512]")
    add("--rate", type=float, default=5000, metavar="N", help="joins/s of an open loop [5000]")
    add("--rows", type=int, default=0, metavar="N", help="measure beside N rows of attendance")
    add("--churn", type=int, default=0, metavar="N", help="measure what N joins and leaves leave")
    add("--race", action="store_true", help="race everything and count broken invariants instead")
    add("--attempts", type=int, default=1_000_000, metavar="N", help="of a race [1000000]")
    add("--web", type=int, default=4, metavar="N", help="web processes of a race [4]")
    add("--seed", type=int, default=1, metavar="N", help="of a race's choices [1]")


def _run(options: argparse.Namespace, report: Report) -> None:
    from benchmarks.admission import churn, joins, race, volume
    from benchmarks.admission.servers import servers

    report.say("starting PostgreSQL and Redis")
    with servers() as running:
        if options.race:
            race.run(running, race.Race(options.attempts, options.web, options.seed), report)
            return
        if options.churn:
            churn.run(running, options.churn, options.clients, report)
            return
        plan = joins.Plan(options.joins, options.rounds, options.clients, options.rate)
        if options.rows:
            volume.run(running, options.rows, plan, report)
        else:
            joins.run(running, plan, report)


BENCHMARK = Benchmark(DESCRIPTION, _add_options, _run)
