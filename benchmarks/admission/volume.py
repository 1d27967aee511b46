"""Joins and pages beside years of attendance: tables filled first, then measured."""

from __future__ import annotations

import asyncio
import random
import time
from uuid import UUID

import asyncpg

from benchmarks.admission import joins, load, school
from benchmarks.admission.invariants import QUERIES
from benchmarks.admission.processes import WebProcesses
from benchmarks.admission.servers import Servers
from benchmarks.report import Report
from control.database import Database

SEGMENTS_PER_CLASS = 100
SEGMENTS_PER_STATEMENT = 200_000
# One class of which a page is a small part, so that a cursor has where to go.
BIG_CLASS_PEOPLE = 50_000
PAGE_ITEMS = 51
PAGES = 200
PAGE_P99_MS_WANTED = 50.0
FILL_TIMEOUT_S = 600.0


def run(servers: Servers, rows: int, plan: joins.Plan, report: Report) -> None:
    """Fill attendance with `rows` segments, measure pages, then joins."""
    people, big = asyncio.run(_fill(servers.database_url, rows, report))
    asyncio.run(_pages(servers.database_url, people, big, report))
    with WebProcesses(1, load.opened, servers.database_url, servers.redis_url) as web:
        for scenario in ("hot class", "one-seat classes"):
            joins.one_round(servers, web, 1, scenario, joins.WARM_UP_JOINS, plan.clients)
            found = joins.told(servers, web, 1, scenario, plan, report, 0.0)
            report.expect(
                f"joins_per_s >= {joins.JOINS_PER_S_WANTED} ({scenario}, {rows:,} rows)",
                found.joins_per_s >= joins.JOINS_PER_S_WANTED,
            )


async def _fill(database_url: str, rows: int, report: Report) -> tuple[list[UUID], UUID]:
    """Return the people who were there, and the class of many."""
    people = await school.people(database_url, max(BIG_CLASS_PEOPLE, rows // 100))
    count = -(-rows // SEGMENTS_PER_CLASS)
    made = await school.waiting_classes(database_url, count + 1, 1000)
    classes = [one.class_id for one in made]
    began = time.monotonic()
    connection = await asyncpg.connect(database_url)
    try:
        # Foreign keys are not checked row by row: every id is of a row that was just made.
        await connection.execute("SET session_replication_role = replica")
        step = SEGMENTS_PER_STATEMENT
        for start in range(0, rows, step):
            end = min(rows, start + step)
            part = classes[start // SEGMENTS_PER_CLASS : -(-end // SEGMENTS_PER_CLASS)]
            await _segments(connection, start, end, people, part, SEGMENTS_PER_CLASS)
            report.say(f"{end:,} of {rows:,} segments, {time.monotonic() - began:.0f} s")
        big = classes[-1]
        await _segments(connection, rows, rows + BIG_CLASS_PEOPLE, people, [big], BIG_CLASS_PEOPLE)
        report.say("gathering statistics")
        await connection.execute("VACUUM (ANALYZE) attendance, class_attendee, account, class")
        size = await connection.fetchrow(QUERIES["age.size"], "attendance")
    finally:
        await connection.close()
    assert size is not None
    report.figures |= {
        "attendance_rows": rows + BIG_CLASS_PEOPLE,
        "attendance_mb": size["table_bytes"] / 1e6,
        "attendance_index_mb": size["index_bytes"] / 1e6,
    }
    return people, big


async def _segments(
    connection: asyncpg.Connection[asyncpg.Record],
    start: int,
    end: int,
    people: list[UUID],
    classes: list[UUID],
    per_class: int,
) -> None:
    values = (start, end, people, classes, per_class)
    await connection.execute(QUERIES["age.segments"], *values, timeout=FILL_TIMEOUT_S)
    await connection.execute(QUERIES["age.met"], classes, timeout=FILL_TIMEOUT_S)
    await connection.execute(QUERIES["age.start_classes"], classes)
    await connection.execute(QUERIES["age.end_classes"], classes)


async def _pages(database_url: str, people: list[UUID], big: UUID, report: Report) -> None:
    """Time pages as the API asks for them: the first ones, and from cursors anywhere."""
    dice = random.Random(1)
    database = await Database.open(database_url)
    try:
        for what, query, cursors in (
            ("a class's attendance, first page", "attendance.of_class", [None]),
            ("a class's attendance, from a cursor", "attendance.of_class", people),
        ):
            asked = [(big, dice.choice(cursors)) for _ in range(PAGES)]
            await _timed(database, what, query, asked, report)
        asked = [(dice.choice(people), None) for _ in range(PAGES)]
        await _timed(database, "a student's history", "attendance.of_user", asked, report)
    finally:
        await database.close()


async def _timed(
    database: Database,
    what: str,
    query: str,
    asked: list[tuple[UUID, UUID | None]],
    report: Report,
) -> None:
    delays, rows = [], 0
    for key, cursor in asked:
        began = time.monotonic()
        rows += len(await database.rows(query, key, cursor, PAGE_ITEMS))
        delays.append((time.monotonic() - began) * 1e3)
    delays.sort()
    p50, p99 = load.percentile(delays, 0.5), load.percentile(delays, 0.99)
    report.add_row(
        "pages",
        {"what": what, "p50_ms": p50, "p99_ms": p99, "max_ms": delays[-1],
         "rows_per_page": rows / len(asked)},
    )  # fmt: skip
    report.say(f"{what}: p50 {p50:.1f} ms, p99 {p99:.1f} ms")
    report.expect(f"p99_ms <= {PAGE_P99_MS_WANTED:g} ({what})", p99 <= PAGE_P99_MS_WANTED)
