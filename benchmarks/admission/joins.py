"""How many joins per second, and how long each takes: hot class and one-seat classes, 1 and 4 processes."""

from __future__ import annotations

import asyncio
import os
import random
import statistics
from dataclasses import asdict, dataclass

from benchmarks.admission import school
from benchmarks.admission.load import Load, Total, opened, total
from benchmarks.admission.processes import WebProcesses
from benchmarks.admission.servers import Servers
from benchmarks.report import Report, Row

JOINS_PER_S_WANTED = 5000
P99_MS_WANTED = 250.0
PROCESSES = (1, 4)
HOT_CAPACITY = 1_000_000
# The first joins of a process prepare its statements and fill its caches; they count for nobody.
WARM_UP_JOINS = 2000


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is joined: per round `joins` by `clients` at a time, or at `rate_per_s`."""

    joins: int
    rounds: int
    clients: int
    rate_per_s: float


def run(servers: Servers, plan: Plan, report: Report) -> None:
    """Measure every scenario; the figures of the report are the worst scenario's medians."""
    worst: list[Total] = []
    for processes in PROCESSES:
        with WebProcesses(processes, opened, servers.database_url, servers.redis_url) as web:
            for scenario in ("hot class", "one-seat classes"):
                one_round(servers, web, processes, scenario, WARM_UP_JOINS, plan.clients)
                closed = _median(
                    [told(servers, web, processes, scenario, plan, report, 0.0)
                     for _ in range(plan.rounds)]
                )  # fmt: skip
                worst.append(closed)
                opened_ = told(servers, web, processes, scenario, plan, report, plan.rate_per_s)
                where = f"{scenario}, {processes} web"
                report.expect(
                    f"joins_per_s >= {JOINS_PER_S_WANTED} ({where})",
                    closed.joins_per_s >= JOINS_PER_S_WANTED,
                )
                for loop, found in (("closed", closed), ("open", opened_)):
                    report.expect(
                        f"p99_ms <= {P99_MS_WANTED:g} ({where}, {loop} loop)",
                        found.p99_ms <= P99_MS_WANTED,
                    )
    report.figures["joins_per_s"] = min(t.joins_per_s for t in worst)
    report.figures["p50_ms"] = max(t.p50_ms for t in worst)
    report.figures["p99_ms"] = max(t.p99_ms for t in worst)


def one_round(
    servers: Servers,
    web: WebProcesses,
    processes: int,
    scenario: str,
    joins: int,
    clients: int,
    rate_per_s: float = 0.0,
) -> Total:
    """Let `joins` new people join, shared out among the processes."""
    people = asyncio.run(school.people(servers.database_url, joins))
    random.Random(joins).shuffle(people)
    is_hot = scenario == "hot class"
    classes = asyncio.run(
        school.live_classes(servers.database_url, *((1, HOT_CAPACITY) if is_hot else (joins, 1)))
    )
    links = [made.link for made in classes]
    loads = [
        Load(
            people=people[number::processes],
            links=links if is_hot else links[number::processes],
            clients=0 if rate_per_s else max(1, clients // processes),
            rate_per_s=rate_per_s / processes,
            seed=number,
        )
        for number in range(processes)
    ]
    return total(web.run(loads))


def told(
    servers: Servers,
    web: WebProcesses,
    processes: int,
    scenario: str,
    plan: Plan,
    report: Report,
    rate_per_s: float,
) -> Total:
    load_before = os.getloadavg()[0]
    began_cpu_s = servers.database_cpu_s()
    found = one_round(servers, web, processes, scenario, plan.joins, plan.clients, rate_per_s)
    # The rows that were made for the round are in it: they cost a few us each.
    database_us = (servers.database_cpu_s() - began_cpu_s) / found.joins * 1e6
    loop = f"open {rate_per_s:.0f}/s" if rate_per_s else f"closed {plan.clients}"
    row: Row = {"scenario": scenario, "web": processes, "loop": loop}
    row |= asdict(found)
    row |= {"database_us_per_join": database_us, "load_before": load_before}
    report.add_row("rounds", row)
    report.say(
        f"{scenario}, {processes} web, {loop}: {found.joins_per_s:,.0f} joins/s,"
        f" p50 {found.p50_ms:.0f} ms, p99 {found.p99_ms:.0f} ms"
    )
    return found


def _median(totals: list[Total]) -> Total:
    """Return the median of each figure."""
    figures = [asdict(found) for found in totals]
    return Total(**{name: statistics.median(f[name] for f in figures) for name in figures[0]})
