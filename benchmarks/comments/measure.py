"""One size of class: a node, its control and a crowd, of whom some write and all listen."""

from __future__ import annotations

import json
import os
import secrets
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.children import Child
from benchmarks.registry import BenchmarkError
from benchmarks.report import Report

START_TIMEOUT_S = 20.0
JOIN_TIMEOUT_S = 180.0
TELL_TIMEOUT_S = 20.0
# After the last comment was written, until the last reader has it; a bound, and polled.
SETTLE_S = 5.0
SETTLE_POLL_S = 0.25
# All children agree on a moment a little ahead.
BEGIN_AHEAD_S = 0.5
CLASS_ID = "0197a002-0000-7000-8000-000000000000"


@dataclass(frozen=True, slots=True)
class Load:
    """What the class does. Rates a second, times in the unit that their names end in."""

    rate: float
    warm_up_s: float
    window_s: float
    rest_s: float
    processes: int


@dataclass(slots=True)
class Sample:
    """Processor time and memory of the node's process, all of its threads (proc(5))."""

    at_s: float
    cpu_s: float
    rss_mb: float
    waited_s: float  # its main thread was ready to run, and others did

    @classmethod
    def of(cls, pid: int) -> Sample:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks = int(fields[11]) + int(fields[12])  # utime, stime
        pages = int(fields[21])
        rss_mb = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
        # Documentation/scheduler/sched-stats of the kernel: time on a processor, time waiting for one.
        waited_s = int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
        return cls(time.monotonic(), ticks / os.sysconf("SC_CLK_TCK"), rss_mb, waited_s)


@dataclass(slots=True)
class Measured:
    """What was measured with one number of viewers."""

    viewers: int
    rate: float
    seconds: float = 0.0
    accepted: int = 0
    refused: int = 0
    delivered: int = 0
    expected: int = 0
    least: int = 0
    most: int = 0
    disorders: int = 0
    missed: int = 0
    node_cores: float | None = None
    rest_cores: float | None = None
    node_waited_share: float | None = None
    crowd_cores: float | None = None
    rss_mb: float | None = None
    ways_ms: Counter[int] = field(default_factory=Counter)

    @property
    def samples(self) -> int:
        return self.ways_ms.total()

    def percentile_ms(self, share: float) -> float | None:
        """Return the time within which that share of the deliveries came, to a millisecond."""
        wanted = share * self.samples
        seen = 0
        for way_ms in sorted(self.ways_ms):
            seen += self.ways_ms[way_ms]
            if seen >= wanted:
                return way_ms + 1.0
        return None


def measure(viewers: int, load: Load, report: Report, into: Measured) -> None:
    """Fill a class, let it write, and fill `into`; BenchmarkError where something does not come about."""
    secret = secrets.token_hex(16)
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="lectern-bench-"))
        control = [sys.executable, "-m", "benchmarks.comments.control", f"{directory}/control"]
        stack.enter_context(Child("control", control)).hear("listening", within_s=START_TIMEOUT_S)
        command = [sys.executable, "-m", "benchmarks.comments.media_node", directory]
        node = stack.enter_context(Child("node", command, LECTERN_BENCH_SECRET=secret))
        listening = node.hear("listening", within_s=START_TIMEOUT_S)
        if listening["build"] != "release":
            raise BenchmarkError("The packet core is a debug build: its figures mean nothing.")
        crowds = _fill(stack, viewers, load, listening)
        report.say(f"{viewers} viewers are there; they write {load.rate:g} comments a second")
        into.rest_cores = _rest(node.pid, load)
        _write(node.pid, crowds, load, into)


def _fill(stack: ExitStack, viewers: int, load: Load, listening: dict[str, Any]) -> list[Child]:
    crowds = []
    for number in range(load.processes):
        command = [sys.executable, "-m", "benchmarks.comments.crowd"]
        crowd = stack.enter_context(Child(f"crowd {number}", command))
        plan = {
            "numbers": list(range(number, viewers, load.processes)),
            "class": CLASS_ID,
            "node": listening["node"],
            "secret": listening["secret"],
        }
        crowd.tell(json.dumps(plan) + "\n")
        crowds.append(crowd)
    for crowd in crowds:
        crowd.hear("joined", within_s=JOIN_TIMEOUT_S)
    return crowds


def _rest(pid: int, load: Load) -> float | None:
    """Return what the node takes while nobody writes."""
    if not load.rest_s:
        return None
    time.sleep(BEGIN_AHEAD_S)  # the last joiners have been told of
    before = Sample.of(pid)
    time.sleep(load.rest_s)
    after = Sample.of(pid)
    return (after.cpu_s - before.cpu_s) / (after.at_s - before.at_s)


def _write(pid: int, crowds: list[Child], load: Load, into: Measured) -> None:
    begins_s = time.monotonic() + BEGIN_AHEAD_S
    seconds = load.warm_up_s + load.window_s
    for number, crowd in enumerate(crowds):
        order = {
            "do": "talk",
            "rate": load.rate / len(crowds),
            "seconds": seconds,
            # One after the other, not all at once.
            "begins_s": begins_s + number / load.rate,
        }
        crowd.tell(json.dumps(order) + "\n")
    time.sleep(max(0.0, begins_s + load.warm_up_s - time.monotonic()))
    before, crowd_before = Sample.of(pid), [Sample.of(crowd.pid) for crowd in crowds]
    time.sleep(max(0.0, begins_s + seconds - time.monotonic()))
    after, crowd_after = Sample.of(pid), [Sample.of(crowd.pid) for crowd in crowds]
    for crowd in crowds:
        crowd.hear("talked", within_s=TELL_TIMEOUT_S)
    into.seconds = after.at_s - before.at_s
    into.node_cores = (after.cpu_s - before.cpu_s) / into.seconds
    into.node_waited_share = (after.waited_s - before.waited_s) / into.seconds
    pairs = zip(crowd_before, crowd_after, strict=True)
    into.crowd_cores = sum(b.cpu_s - a.cpu_s for a, b in pairs) / into.seconds
    into.rss_mb = after.rss_mb
    deadline = time.monotonic() + SETTLE_S
    while True:
        _hear(crowds, into)
        if into.delivered == into.expected or time.monotonic() > deadline:
            return
        time.sleep(SETTLE_POLL_S)


def _hear(crowds: list[Child], into: Measured) -> None:
    told = []
    for crowd in crowds:
        crowd.tell('{"do": "tell"}\n')
        told.append(crowd.hear("heard", within_s=TELL_TIMEOUT_S))
    into.accepted = sum(one["accepted"] for one in told)
    into.refused = sum(one["refused"] for one in told)
    into.expected = into.accepted * into.viewers
    into.delivered = sum(one["delivered"] for one in told)
    into.least = min(one["least"] for one in told)
    into.most = max(one["most"] for one in told)
    into.disorders = sum(one["disorders"] for one in told)
    into.missed = sum(one["missed"] for one in told)
    into.ways_ms = Counter()
    for one in told:
        into.ways_ms.update(dict(one["ways_ms"]))
