"""The course of the failover benchmark."""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import os
import signal
import subprocess
import time

from benchmarks.failover.deployment import Deployment, deployment
from benchmarks.failover.person import Person, until
from benchmarks.failover.school import School
from benchmarks.registry import BenchmarkError
from benchmarks.report import Report

CLONE_NEWNET = 0x40000000  # <linux/sched.h>
LOST_WITHIN_S = 20.0
# After everybody plays again: what comes late still counts.
CALM_S = 2.0
OUT_OF_ROTATION_S = {"kill": 5.0, "stop": 5.0, "cut": 10.0, "drain": 5.0}
EXPECTED_S = {"kill": (2.0, 3.0), "stop": (2.0, 3.0), "cut": (2.0, 3.0), "drain": (0.5, 0.5)}


def run(options: argparse.Namespace, kinds: tuple[str, ...], report: Report) -> None:
    """Fill the report; BenchmarkError where it cannot be run here."""
    if "cut" in kinds:
        _own_network()
    with deployment(options.nodes, options.webs) as running:
        gaps = asyncio.run(_run(running, options, kinds, report))
    for kind, found in gaps.items():
        if not found:
            continue
        outs = [row["out_of_rotation_s"] for row in report.tables["faults"] if row["fault"] == kind]
        out_s = max(float(out) for out in outs if isinstance(out, float))
        report.figures[f"{kind}_out_of_rotation_s"] = out_s
        most_s = OUT_OF_ROTATION_S[kind]
        report.expect(f"{kind}_out_of_rotation_s <= {most_s}", out_s <= most_s)
        p50, p99 = _part(found, 0.5), _part(found, 0.99)
        report.figures[f"{kind}_gap_p50_s"] = p50
        report.figures[f"{kind}_gap_p99_s"] = p99
        report.figures[f"{kind}_gap_longest_s"] = max(found)
        report.figures[f"{kind}_gaps"] = len(found)
        most_p50, most_p99 = EXPECTED_S[kind]
        report.expect(f"{kind}_gap_p50_s <= {most_p50}", p50 <= most_p50)
        report.expect(f"{kind}_gap_p99_s <= {most_p99}", p99 <= most_p99)


async def _run(
    running: Deployment, options: argparse.Namespace, kinds: tuple[str, ...], report: Report
) -> dict[str, list[float]]:
    school = School.open(running.url)
    gaps: dict[str, list[float]] = {kind: [] for kind in kinds}
    try:
        await running.settled()
        for _ in range(options.classes):
            await school.lesson(options.students)
        report.say(f"{len(school.students)} students play")
        for number in range(options.rounds):
            for kind in kinds:
                found, out_s = await one_fault(running, school, kind)
                gaps[kind] += found
                report.add_row(
                    "faults",
                    {
                        "round": number,
                        "fault": kind,
                        "students": len(found),
                        "gap_p50_s": _part(found, 0.5),
                        "gap_longest_s": max(found),
                        "out_of_rotation_s": out_s,
                    },
                )
                report.say(f"{kind}: longest gap {max(found):.2f} s of {len(found)} students")
    finally:
        await school.close()
    return gaps


async def one_fault(running: Deployment, school: School, kind: str) -> tuple[list[float], float]:
    """Take away the node of the first class.

    Returns the longest gap of each student who was there, and after which time the node got no classes
    any more, both in seconds.
    """
    teacher = school.lessons[0].teacher
    assert teacher.current is not None
    node_id = teacher.current.node
    hit = [s for s in school.students if s.current is not None and s.current.node == node_id]
    began = time.monotonic()
    stopped = None
    rotation = asyncio.create_task(running.out_of_rotation(node_id))
    if kind == "kill":
        await running.kill(node_id)
    elif kind == "stop":
        stopped = await running.stop_node(node_id)
    elif kind == "cut":
        running.cut((await running.place_of(node_id))[1])
    else:
        await running.drain(node_id)
    try:
        await until(lambda: all(_is_elsewhere(p, node_id) for p in (*hit, teacher)), LOST_WITHIN_S)
        await school.everybody_plays(began)
        out_s = await asyncio.wait_for(rotation, LOST_WITHIN_S)
        await asyncio.sleep(CALM_S)
    except TimeoutError as error:
        refusals = [student.refusals[-3:] for student in hit]
        raise BenchmarkError(f"{kind}: not everybody came over: {refusals}") from error
    finally:
        rotation.cancel()
        if stopped is not None:
            os.kill(stopped, signal.SIGCONT)
        if kind == "cut":
            running.mend()
    gaps = [round(student.longest_gap(began), 3) for student in hit]
    await running.settled()
    return gaps, round(out_s, 2)


def _is_elsewhere(person: Person, node_id: str) -> bool:
    return person.current is not None and person.current.node != node_id


def _part(values: list[float], part: float) -> float:
    """Return a quantile, the value itself and none between two."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def _own_network() -> None:
    """Move this process, and all that it will start, into a network namespace with a loopback alone."""
    if os.geteuid() != 0:
        raise BenchmarkError("Cutting a node off the network needs root.")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET):
        raise BenchmarkError(f"No network namespace: {os.strerror(ctypes.get_errno())}.")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
