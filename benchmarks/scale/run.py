"""The phases of a run, one after the other, and what is told of them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import asyncpg
import redis

from benchmarks.admission import school
from benchmarks.admission.load import percentile
from benchmarks.admission.processes import WebProcesses
from benchmarks.admission.servers import Servers
from benchmarks.report import Report, Row
from benchmarks.scale import web
from benchmarks.scale.world import Phase, Share, Size
from control.ids import uuid7
from control.queries import load

QUERIES = load(Path(__file__).parent / "sql")
PROGRESS_S = 10.0
TRUTH_TIMEOUT_S = 600.0
# PostgreSQL's processes hand over their counts at the latest so long after a transaction (pgstat.c).
STATISTICS_DELAY_S = 1.5


def run(servers: Servers, size: Size, report: Report) -> None:
    """Go through all phases; what was measured until an interruption is in the report."""
    report.figures |= {
        "classes": size.classes,
        "students": size.classes * size.students,
        "nodes": size.nodes,
        "web": size.processes,
    }
    report.say(f"copying {size.classes * (1 + size.students):,} accounts")
    shares = asyncio.run(_shares(servers.database_url, size))
    with WebProcesses(size.processes, web.opened, servers.database_url, servers.redis_url) as them:
        report.say(f"registering {size.nodes:,} nodes")
        them.run(shares)
        for name in ("create", "start", "publish", "join"):
            if name != "join" or size.students:
                _phase(servers, them, Phase(name), size, report)
        if size.steady_s:
            _phase(servers, them, Phase("beat", size.steady_s), size, report)
        # While everything is at its largest.
        asyncio.run(_tables(servers.database_url, report))
        _redis(servers.redis_url, report)
        _phase(servers, them, Phase("end"), size, report)
    asyncio.run(truth(servers.database_url, size, report))


async def _shares(database_url: str, size: Size) -> list[Share]:
    teachers = await school.people(database_url, size.classes, "teacher")
    students = await school.people(database_url, size.classes * size.students)
    connection = await asyncpg.connect(database_url)
    try:
        # Autovacuum would look at such a table within a minute; a run has no minute to wait.
        await connection.execute("ANALYZE account", timeout=TRUTH_TIMEOUT_S)
    finally:
        await connection.close()
    nodes = [uuid7() for _ in range(size.nodes)]
    every = size.processes
    return [
        Share(
            teachers=teachers[n::every],
            students=students[n::every],
            nodes=nodes[n::every],
            others=frozenset(nodes) - frozenset(nodes[n::every]),
            clients=size.clients,
        )
        for n in range(every)
    ]


def _phase(servers: Servers, them: WebProcesses, phase: Phase, size: Size, report: Report) -> None:
    """Let all processes do one phase and tell of it."""
    whole = size.classes * (size.students if phase.name == "join" else 1)
    progress = _Progress(phase, whole, report)
    database_cpu_s = -servers.database_cpu_s()
    told = them.run([phase] * size.processes, progress.heard)
    database_cpu_s += servers.database_cpu_s()
    took_s = max(t.finished_at for t in told) - min(t.started_at for t in told)
    web_cpu_s = sum(t.cpu_s for t in told)
    done = sum(t.done for t in told)
    beat_ms = _sorted(t.beat_ms for t in told)
    row: Row = {"phase": phase.name, "done": done, "took_s": took_s}
    row |= {"per_s": done / took_s if done else None} | _quantiles(
        "", _sorted(t.delays_ms for t in told)
    )
    row |= {
        "web_us": web_cpu_s / done * 1e6 if done else None,
        "database_us": database_cpu_s / done * 1e6 if done else None,
        "web_cores": web_cpu_s / took_s,
        "database_cores": database_cpu_s / took_s,
        "beats_per_s": sum(t.beats for t in told) / took_s,
        "late_beats": sum(t.late_beats for t in told),
        "held_beats": sum(t.held_beats for t in told),
        "tried_again": sum(t.tried_again for t in told),
    }
    row |= _quantiles("beat_", beat_ms)
    report.add_row("phases", row)
    rate = f"{done / took_s:,.0f}/s, " if done else ""
    report.say(
        f"{phase.name}: {took_s:.0f} s, {rate}"
        f"web {web_cpu_s / took_s:.2f} cores, PostgreSQL {database_cpu_s / took_s:.2f} cores,"
        f" {row['beats_per_s']:.0f} beats/s, {row['late_beats']} of them late"
    )
    if done:
        report.figures[f"{phase.name}_per_s"] = done / took_s
    report.expect(f"no node lost ({phase.name})", not sum(t.lost_nodes for t in told))


class _Progress:
    """Says every few seconds how far a phase is."""

    def __init__(self, phase: Phase, whole: int, report: Report) -> None:
        self._phase, self._whole, self._report = phase, whole, report
        self._done: Counter[int] = Counter()
        self._tell_at = time.monotonic() + PROGRESS_S

    def heard(self, number: int, done: int) -> None:
        self._done[number] = done
        if time.monotonic() >= self._tell_at:
            self._tell_at = time.monotonic() + PROGRESS_S
            total = self._done.total()
            self._report.say(f"{self._phase.name}: {total:,} of {self._whole:,}")


def _sorted(parts: Iterable[list[float]]) -> list[float]:
    return sorted(value for part in parts for value in part)


def _quantiles(prefix: str, ordered: list[float]) -> Row:
    return {
        f"{prefix}p50_ms": percentile(ordered, 0.5) if ordered else None,
        f"{prefix}p99_ms": percentile(ordered, 0.99) if ordered else None,
    }


async def _tables(database_url: str, report: Report) -> None:
    await asyncio.sleep(STATISTICS_DELAY_S)
    connection = await asyncpg.connect(database_url)
    try:
        found = await connection.fetch(QUERIES["scale.tables"])
    finally:
        await connection.close()
    for table in found:
        updates = table["n_tup_upd"]
        report.add_row(
            "tables",
            {
                "table": table["relname"],
                "rows": table["n_live_tup"],
                "dead_rows": table["n_dead_tup"],
                "mb": table["table_bytes"] / 1e6,
                "index_mb": table["index_bytes"] / 1e6,
                "in_place_share": table["n_tup_hot_upd"] / updates if updates else None,
            },
        )
    whole = sum(table["table_bytes"] + table["index_bytes"] for table in found)
    report.figures["database_mb"] = whole / 1e6
    report.say(f"PostgreSQL: {whole / 1e6:,.0f} MB in tables and indexes")


def _redis(redis_url: str, report: Report) -> None:
    client = redis.Redis.from_url(redis_url)
    try:
        memory, stats, keys = client.info("memory"), client.info("stats"), client.dbsize()
    finally:
        client.close()
    report.figures |= {
        "redis_mb": memory["used_memory"] / 1e6,
        "redis_mb_peak": memory["used_memory_peak"] / 1e6,
        "redis_commands": stats["total_commands_processed"],
        "redis_keys": keys,
    }
    report.say(f"Redis: {memory['used_memory_peak'] / 1e6:.0f} MB at most")


async def truth(database_url: str, size: Size, report: Report) -> None:
    """Hold the rows against what was done."""
    connection = await asyncpg.connect(database_url)
    try:
        found = await connection.fetchrow(QUERIES["scale.truth"], timeout=TRUTH_TIMEOUT_S)
    finally:
        await connection.close()
    assert found is not None
    report.figures |= dict(found)
    joins = size.classes * size.students
    # An attempt that was given up may have been admitted; its segment never connects.
    phases = report.tables.get("phases", [])
    again = sum(int(row["tried_again"] or 0) for row in phases if row["phase"] == "join")
    report.figures["joins_tried_again"] = again
    report.expect("every class has ended", found["classes_ended"] == size.classes)
    report.expect("no class has seats left", found["classes_with_seats"] == 0)
    report.expect("seats == 0", found["seats"] == 0)
    report.expect("attended == joins", found["attended"] == joins)
    report.expect(
        "joins <= segments <= joins + joins_tried_again",
        joins <= found["segments"] <= joins + again,
    )
    report.expect("attendees == joins", found["attendees"] == joins)
    report.expect("no node was declared dead", found["nodes_reaped"] == 0)
