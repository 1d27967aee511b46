"""The admission benchmark: its race breaks nothing, and its checker sees what is broken on purpose."""

from __future__ import annotations

import asyncio
from uuid import UUID

import asyncpg
import pytest

from benchmarks.admission import joins, load, race, riot, school
from benchmarks.admission.invariants import check
from benchmarks.admission.processes import WebProcesses
from benchmarks.admission.servers import Servers
from benchmarks.report import Report
from control import Account, Admission
from control.database import Database
from control.ids import uuid7
from control.queries import QUERIES
from control.seats import Seats
from lectern.embedded import Postgres


def test_a_short_race_of_two_processes_breaks_nothing(
    postgres_server: Postgres, database_url: str, redis_url: str
) -> None:
    servers = Servers(database_url, redis_url, postgres_server.pid)
    report = Report("admission")
    race.run(servers, race.Race(3000, 2, seed=1, people=300, classes=20), report)
    assert report.not_held == []
    assert report.figures["violations"] == 0 and report.tables.get("broken") is None
    attempts, admitted, left, checks = (
        report.figures[name] for name in ("attempts", "admitted", "left", "checks")
    )
    assert isinstance(attempts, int) and attempts >= 3000
    assert isinstance(admitted, int) and admitted > 300
    assert isinstance(left, int) and left > 300
    assert isinstance(checks, int) and checks >= 2
    # It was a race for places and for people, and every kind of action took part.
    refused = {row["what"] for row in report.tables["refusals"]}
    assert {"class_full", "active_elsewhere", "link_invalid", "class_ended"} <= refused
    assert len(report.tables["actions"]) >= 12


async def test_a_race_notices_that_seats_are_lost_count_of(
    database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = QUERIES["seat.end"].replace("used - fewer.people", "used - 0")
    assert broken != QUERIES["seat.end"]
    monkeypatch.setitem(QUERIES, "seat.end", broken)
    jobs = await race.jobs_of(database_url, race.Race(1000, 1, seed=1, people=100, classes=5))
    async with riot.opened(database_url, redis_url) as work:
        await work(jobs[0], lambda told: None)
    assert "used is not the number of seats" in await check(database_url, segments=True)


async def test_the_ledger_notices_an_admission_without_a_row(database_url: str) -> None:
    database = await Database.open(database_url)
    try:
        made = await seated(database_url, database, 2)
        ledger = riot.Ledger(database)
        for admission in made:
            await ledger.admitted(admission)
        await ledger.settle()
        assert ledger.violations.total() == 0
        await database.rows("attendance.forge", made[0].session_id)
        for admission in made:
            await ledger.admitted(admission)
            await ledger.left(admission.session_id)
        await ledger.settle()
        assert ledger.violations == {
            "an acknowledged join without its row": 1,
            "an acknowledged leave with an open segment": 1,
        }
    finally:
        await database.close()


@pytest.fixture(autouse=True)
def forgery(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(QUERIES, "attendance.forge", "DELETE FROM attendance WHERE session_id = $1")


async def seated(database_url: str, database: Database, count: int) -> list[Admission]:
    """Return the admissions of `count` people to a class of their own."""
    (made,) = await school.live_classes(database_url, 1, count)
    people = await school.people(database_url, count)
    seats = Seats(database)
    seats.start()
    try:
        return await asyncio.gather(*(
            seats.admit(
                Account(person, "student", "student", False),
                link_token=made.link, class_id=None, takeover=False, resume_of=None,
            )
            for person in people
        ))  # fmt: skip
    finally:
        await seats.close()


# What is done to a database with two people in one class, and what must be said of it.
SABOTAGE = {
    "UPDATE class SET used = 1": "used is not the number of seats",
    "ALTER TABLE class DROP CONSTRAINT class_never_over_capacity;"
    "UPDATE class SET capacity = 1": "more seats than the capacity",
    "ALTER TABLE seat DROP CONSTRAINT seat_pkey; ALTER TABLE seat DROP CONSTRAINT"
    " seat_session_id_key; INSERT INTO seat SELECT * FROM seat WHERE NOT is_host":
        "two seats of one person",
    "DELETE FROM seat WHERE is_host": "a class is live and has no host, or the other way round",
    "UPDATE class SET teacher_id = (SELECT user_id FROM seat WHERE NOT is_host LIMIT 1)":
        "a teacher sits in the own class, or a stranger hosts it",
    "ALTER TABLE class DROP CONSTRAINT class_empty_unless_live;"
    "UPDATE class SET state = 'ended', ended_at = clock_timestamp()":
        "a seat in a class that is not live",
    "UPDATE seat SET fence = fence + 1 WHERE NOT is_host": "an open segment without its seat",
    "UPDATE attendance SET left_at = joined_at, reason = 'left'":
        "a seat without an open segment",
    "INSERT INTO attendance (session_id, user_id, class_id, fence, joined_at)"
    " SELECT gen_random_uuid(), user_id, class_id, 1, joined_at + interval '1 ms' FROM attendance":
        "segments of one person overlap",
    "UPDATE class SET state = 'ended', used = 0, ended_at = started_at;"
    "UPDATE attendance SET left_at = joined_at + interval '1 s', reason = 'left'":
        "a segment ends after its class, or is open in one that is over",
    "UPDATE attendance SET left_at = clock_timestamp() + interval '1 h', reason = 'left'":
        "a segment ends in the future",
    "UPDATE class SET attendees = 3": "attendees is not the number of people who were there",
    "UPDATE attendance SET connected_at = joined_at": "somebody was there and does not count",
}  # fmt: skip


@pytest.mark.parametrize("statements", SABOTAGE)
async def test_the_checker_notices(database_url: str, statements: str) -> None:
    database = await Database.open(database_url)
    try:
        await seated(database_url, database, 2)
    finally:
        await database.close()
    assert (await check(database_url, segments=True)).total() == 0
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(statements)
    finally:
        await connection.close()
    assert SABOTAGE[statements] in await check(database_url, segments=True)


def test_joins_are_measured_by_real_processes(
    postgres_server: Postgres, database_url: str, redis_url: str
) -> None:
    servers = Servers(database_url, redis_url, postgres_server.pid)
    with WebProcesses(2, load.opened, database_url, redis_url) as web:
        hot = joins.one_round(servers, web, 2, "hot class", 300, 50)
        bell = joins.one_round(servers, web, 2, "one-seat classes", 300, 50, rate_per_s=1000)
    for found in (hot, bell):
        assert found.joins == 300
        assert 0 < found.p50_ms <= found.p99_ms <= found.max_ms
        assert found.joins_per_s > 0
    # An open loop is no faster than its arrivals.
    assert bell.joins_per_s < 2000


def test_a_process_that_fails_fails_the_run(database_url: str, redis_url: str) -> None:
    with WebProcesses(1, load.opened, database_url, redis_url) as web:
        with pytest.raises(RuntimeError, match="AttributeError"):
            web.run([uuid7()])


def test_refused_joins_are_no_measurement() -> None:
    measured = load.Measured(0.0, 1.0, delays_ms=[1.0])
    measured.refused["class_full"] += 1
    with pytest.raises(ValueError, match="class_full"):
        load.total([measured])


def test_ids_of_load_are_ids(database_url: str) -> None:
    (person,) = asyncio.run(school.people(database_url, 1))
    assert isinstance(person, UUID) and person.version == 7
