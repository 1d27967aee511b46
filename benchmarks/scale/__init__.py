"""`lectern bench scale`: the control plane at full size."""

from __future__ import annotations

import argparse

from benchmarks.limits import require
from benchmarks.registry import Benchmark
from benchmarks.report import Report

DESCRIPTION = """\
Take the control plane to its full size on this machine: real web processes, PostgreSQL (durable) and Redis.
Classes are created and started, placed on nodes and published into; students join by link, all are reported
connected by their nodes, everything beats for a while, and every class is ended. What is made up are the
nodes: they register and beat as real ones do, every 2 s and with digests, but carry no media. There is no
HTTP between client and control either; accounts are copied into the database, since signing them up would
hash a password for each.

Phases follow each other, each as fast as the machine goes; the nodes beat all the while, and their share is
in every figure. For each phase: rate, delays, processor time of web and of PostgreSQL for each operation.
Then: rows and sizes of the tables, Redis' memory and commands, and whether the truth at the end is whole:
every join attended, every seat free again, no node lost.

A million classes take some hours on two cores, and 6 GB of disk.
"""
CLASSES_MAX = 4_000_000


def _add_options(parser: argparse.ArgumentParser) -> None:
    def add(name: str, default: int, text: str) -> None:
        parser.add_argument(
            f"--{name}", type=int, default=default, metavar="N", help=f"{text} [{default}]"
        )

    add("classes", 1_000_000, "classes, each with a teacher")
    add("students", 1, "students who join each class")
    add("classes-per-node", 1000, "classes for each made-up node")
    add("web", 2, "web processes")
    add("clients", 64, "clients of each web process; four times as many join")
    add("steady", 60, "seconds in which nodes only beat, two digests' worth by default")


def _run(options: argparse.Namespace, report: Report) -> None:
    from benchmarks.admission.servers import servers
    from benchmarks.scale import run
    from benchmarks.scale.world import Size

    size = Size(
        classes=options.classes,
        students=options.students,
        nodes=-(-options.classes // max(1, options.classes_per_node)),
        processes=options.web,
        clients=options.clients,
        steady_s=options.steady,
    )
    bounds = [
        ("--classes", 1 <= size.classes <= CLASSES_MAX),
        ("--students", 0 <= size.students <= 1000),
        ("--classes-per-node", options.classes_per_node >= 1),
        ("--web", 1 <= size.processes <= 64),
        ("--clients", 1 <= size.clients <= 4096),
        ("--steady", 0 <= size.steady_s <= 3600),
    ]
    require(bounds)
    report.say("starting PostgreSQL and Redis")
    with servers() as running:
        run.run(running, size, report)


BENCHMARK = Benchmark(DESCRIPTION, _add_options, _run)
