"""A node whose lease is over: its sessions end at its last known time, its students keep a place."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from datetime import timedelta

import asyncpg
import pytest

from control import janitor
from control.beats import Refused
from control.database import SETTINGS
from control.janitor import Janitor
from control.queries import QUERIES
from tests.control.people import FakeNode, School, code_of


async def silence(school: School, node_id: object, seconds: int = 60) -> None:
    """Let the node's lease be over for `seconds`."""
    await school.sql.execute(
        "UPDATE node SET lease_until = lease_until - $2::interval, alive_at = alive_at - $2::interval"
        " WHERE node_id = $1",
        node_id,
        timedelta(seconds=seconds),
    )


async def test_the_reaper_closes_segments_and_keeps_places(school: School) -> None:
    node = await school.node()
    teacher, class_id, link = await school.live_class(capacity=2)
    one = await school.person()
    await school.joined(one, link, node)
    host = await school.plane.admit_host(teacher, class_id)
    await node.connected(host)
    await school.sql.execute(
        "UPDATE attendance SET joined_at = joined_at - interval '1 h',"
        " connected_at = connected_at - interval '1 h'"
    )
    await silence(school, node.node_id)
    alive_at = await school.sql.fetchval("SELECT alive_at FROM node")
    assert await school.reap() == 1
    (segment,) = await school.segments(one)
    assert (segment["reason"], segment["left_at"], segment["estimated"]) == (
        "node_lost", alive_at, True,
    )  # fmt: skip
    await school.assert_invariants()
    second = await school.node()
    again = await school.plane.admit(one, class_id=class_id)
    dead = frozenset({node.node_id})  # what is remembered of it may be a second old
    assert (await school.plane.place(class_id, exclude=dead)).node_id == second.node_id
    await school.plane.bind_session(again, second.node_id)
    await second.connected(again)
    seat = await school.seat(one)
    assert seat is not None and seat["node_id"] == second.node_id
    host_again = await school.plane.admit_host(teacher, class_id)
    assert host_again.node_id == second.node_id
    assert await school.sql.fetchval("SELECT settled FROM node WHERE reaped")
    assert await school.reap() == 0
    await school.assert_invariants()


async def test_a_node_that_beats_is_not_reaped(school: School) -> None:
    node = await school.node()
    await silence(school, node.node_id)
    await node.beat()
    assert await school.reap() == 0


async def test_nobody_is_reaped_before_the_connection_is_up_for_a_lease(
    school: School, database_url: str
) -> None:
    await school.plane.close()  # its own janitor holds the lock
    node = await school.node_row()
    await silence(school, node)
    database = school.plane._database
    database.pool = await asyncpg.create_pool(database_url, min_size=1, max_size=2)
    patient = Janitor(database, idle_s=1e6, host_absence_max_s=1e6, patience_s=1.5)
    task = asyncio.create_task(patient.run())
    await asyncio.sleep(1.0)
    assert await school.sql.fetchval("SELECT count(*) FROM node WHERE reaped") == 0
    for _ in range(100):
        if await school.sql.fetchval("SELECT count(*) FROM node WHERE reaped"):
            break
        await asyncio.sleep(0.05)
    assert await school.sql.fetchval("SELECT count(*) FROM node WHERE reaped") == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_nobody_is_reaped_because_the_database_stood_still(
    school: School, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await school.plane.close()  # its own janitor holds the lock
    monkeypatch.setattr(janitor, "STALL_S", 1.2)
    database = school.plane._database
    database.pool = await asyncpg.create_pool(database_url, min_size=1, max_size=2)
    patient = Janitor(database, idle_s=1e6, host_absence_max_s=1e6, patience_s=2.0)
    worked = asyncio.Event()
    monkeypatch.setattr(patient, "prune", _saying(worked))
    task = asyncio.create_task(patient.run())
    async with asyncio.timeout(20):
        await worked.wait()  # it is patient no more
    node = await school.node_row()
    backend = await school.sql.fetchval(
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'lectern janitor'"
        " AND datname = current_database()"
    )
    os.kill(backend, signal.SIGSTOP)
    try:
        await silence(school, node)  # time goes on, and nobody can beat
        await asyncio.sleep(2.5)
    finally:
        os.kill(backend, signal.SIGCONT)
    await asyncio.sleep(1.0)
    assert await school.sql.fetchval("SELECT count(*) FROM node WHERE reaped") == 0
    async with asyncio.timeout(20):
        while not await school.sql.fetchval("SELECT count(*) FROM node WHERE reaped"):
            await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _saying(event: asyncio.Event) -> Callable[[], Awaitable[None]]:
    async def say() -> None:
        event.set()

    return say


async def test_a_new_boot_at_the_same_place_ends_the_old_ones_lease(school: School) -> None:
    old = await school.node()
    _, class_id, link = await school.live_class()
    person = await school.person()
    await school.joined(person, link, old)
    new = FakeNode(school.plane)
    new.url = old.url
    await new.register()
    assert await school.reap() == 1
    assert (await school.segments(person))[0]["reason"] == "node_lost"
    with pytest.raises(Refused):
        await old.beat()
    dead = frozenset({old.node_id})
    assert (await school.plane.place(class_id, exclude=dead)).node_id == new.node_id


async def test_a_class_without_its_teacher_ends_by_itself(
    school: School, caplog: pytest.LogCaptureFixture
) -> None:
    node = await school.node()
    teacher, class_id, link = await school.live_class()
    _, other, _ = await school.live_class()
    host = await school.plane.admit_host(teacher, class_id)
    await node.connected(host)
    later = "UPDATE seat SET silent_since = silent_since - interval '31 min'"
    await school.sql.execute(later)
    assert await school.plane._janitor.end_deserted() == 1
    assert await school.sql.fetchval("SELECT state FROM class WHERE class_id=$1", other) == "ended"
    assert f"class {other}: live -> ended, no teacher for 1800 s" in caplog.text
    await school.plane.leave(teacher, host.session_id, "left")
    assert await school.plane._janitor.end_deserted() == 0
    await school.sql.execute(later)
    person = await school.person()
    await school.joined(person, link, node)
    assert await school.plane._janitor.end_deserted() == 1
    assert (await school.segments(person))[0]["reason"] == "class_ended"
    await school.assert_invariants()


async def test_deserted_classes_are_found_without_reading_every_seat(school: School) -> None:
    for name, value in SETTINGS.items():
        await school.sql.execute("SELECT set_config($1, $2, false)", name, value)
    await school.sql.execute(f"PREPARE deserted (float8) AS {QUERIES['class.deserted']}")
    plan = "\n".join(r[0] for r in await school.sql.fetch("EXPLAIN EXECUTE deserted (1800)"))
    assert "seat_silent_host" in plan, plan


async def test_there_is_one_janitor_at_a_time(school: School, database_url: str) -> None:
    for _ in range(100):
        held = await school.sql.fetchval(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"
        )
        if held:
            break
        await asyncio.sleep(0.05)
    second = Janitor(school.plane._database, idle_s=1e6, host_absence_max_s=1e6, patience_s=0.0)
    worked = []
    second.work = lambda moment: worked.append(moment) or asyncio.sleep(0)  # type: ignore[func-returns-value, method-assign]
    task = asyncio.create_task(second.run())
    await asyncio.sleep(1.3)
    assert not worked
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_without_a_live_node_there_is_no_place(school: School) -> None:
    _, class_id, _ = await school.live_class()
    assert await code_of(school.plane.place(class_id)) == "no_capacity"
    node = await school.node()
    assert (await school.plane.place(class_id)).node_id == node.node_id
    attempt = school.plane.place(class_id, exclude=frozenset({node.node_id}))
    assert await code_of(attempt) == "no_capacity"


async def test_racing_placements_agree(school: School) -> None:
    for _ in range(4):
        await school.node()
    _, class_id, _ = await school.live_class()
    placed = await asyncio.gather(*(school.plane.place(class_id) for _ in range(20)))
    assert len({p.node_id for p in placed}) == 1


async def test_classes_spread_over_nodes_without_redis(school: School) -> None:
    school.plane._map._away_until = float("inf")
    for _ in range(3):
        await school.node()
    places = [await school.plane.place((await school.live_class())[1]) for _ in range(30)]
    counts = [sum(p.node_id == n for p in places) for n in {p.node_id for p in places}]
    assert len(counts) == 3 and min(counts) >= 3, counts
