"""A whole deployment of three nodes and two web processes: nodes die or are replaced under load, the
servers behind them too, and students who reconnect as the page does barely notice."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import asyncpg
import pytest
import redis.asyncio as redis

from benchmarks.failover.deployment import Deployment, deployment
from benchmarks.failover.person import Person, until
from benchmarks.failover.run import one_fault
from benchmarks.failover.school import School
from tests.chaos.faults import state_of

INVARIANTS = (Path(__file__).parents[1] / "chaos" / "invariants.sql").read_text()
STUDENTS = 4


@pytest.fixture(scope="module")
def running() -> Iterator[Deployment]:
    with deployment(nodes=3, webs=2) as started:
        yield started


async def opened(running: Deployment, classes: int = 2) -> School:
    school = School.open(running.url)
    await running.settled()
    for _ in range(classes):
        await school.lesson(STUDENTS)
    return school


async def assert_attendance(running: Deployment, school: School) -> None:
    """Nothing is wrong in the database, and whoever sat through it all has sat through it all."""
    assert await running.rows(INVARIANTS) == []
    for lesson in school.lessons:
        who = lesson.teacher.token
        page = await school.ask("GET", f"/api/classes/{lesson.class_id}/attendance", who)
        assert len(page["items"]) == len(lesson.students)
        for person in page["items"]:
            assert person["left_at"] is None, person
            # One person, present without a break: what is between two sessions is not absence.
            assert len(person["segments"]) == 1, person


def pids(running: Deployment, command: str) -> list[int]:
    """Return the processes of ours that run a program."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            words = Path(f"/proc/{int(entry)}/cmdline").read_text().split("\0")
            where = os.path.realpath(f"/proc/{entry}/cwd") + " ".join(words)
        except (OSError, ValueError):
            continue
        if command in words[0] and str(running.data.parent) in where:
            found.append(int(entry))
    return found


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["kill", "stop"])
async def test_a_node_that_dies_costs_seconds(running: Deployment, kind: str) -> None:
    school = await opened(running)
    try:
        gaps, out_s = await one_fault(running, school, kind)
        print(f"{kind}: {gaps}")
        assert len(gaps) >= STUDENTS
        assert max(gaps) <= 3.0 and out_s <= 5.0
        assert sorted(gaps)[len(gaps) // 2] <= 2.0
        await assert_attendance(running, school)
    finally:
        await school.close()


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_a_hung_node_is_out_of_rotation_within_five_seconds(running: Deployment) -> None:
    await running.settled()
    await asyncio.sleep(2.5)  # every web process has asked it once
    (node_id, *_) = await running.states()
    began = time.monotonic()
    pid = await running.stop_node(node_id)
    try:
        assert state_of(pid) == "T"
        while True:
            (found,) = await running.rows(
                "SELECT shunned_until > clock_timestamp() AS out FROM node WHERE node_id = $1",
                node_id,
            )
            if found["out"]:
                break
            assert time.monotonic() - began < 5.0
            await asyncio.sleep(0.1)
        print(f"out of rotation after {time.monotonic() - began:.1f} s")
    finally:
        os.kill(pid, signal.SIGCONT)
    await running.settled()


@pytest.mark.long
@pytest.mark.timeout(400)
async def test_all_nodes_are_replaced_one_after_the_other(running: Deployment) -> None:
    school = await opened(running)
    try:
        began = time.monotonic()
        for node_id in list(await running.states()):
            await running.drain(node_id)
            await running.settled()
        assert len({person.current.node for person in school.students if person.current}) >= 1
        gaps = [student.longest_gap(began) for student in school.students]
        print(f"rolling restart: {[round(gap, 2) for gap in gaps]}")
        assert max(gaps) <= 0.5
        await assert_attendance(running, school)
    finally:
        await school.close()


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_redis_dies_and_is_emptied_and_nobody_notices(running: Deployment) -> None:
    school = await opened(running, classes=1)
    try:
        began = time.monotonic()
        (killed,) = pids(running, "redis-server")
        os.kill(killed, signal.SIGKILL)
        late = await school.lesson(1)  # a class is made, placed and joined meanwhile
        await asyncio.sleep(3.0)
        assert max(s.longest_gap(began) for s in school.lessons[0].students) <= 0.5
        await until(lambda: pids(running, "redis-server") not in ([], [killed]), 20)
        socket = os.path.realpath(running.data / "run" / "redis.sock")
        async with redis.Redis(unix_socket_path=socket) as server:
            assert await server.flushall()
        await school.everybody_plays(began)
        assert max(s.longest_gap(began) for s in school.lessons[0].students) <= 0.5
        assert late.students[0].connections == 1
        assert all(s.connections == 1 for s in school.students), "somebody had to reconnect"
        await assert_attendance(running, school)
    finally:
        await school.close()


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_postgresql_restarts_and_media_flows(running: Deployment) -> None:
    school = await opened(running, classes=1)
    (lesson,) = school.lessons
    link = lesson.students[0].url.split("/")[3]
    latecomer = Person(
        school.http,
        await school.sign_up("student"),
        f"/live/links/{link}/whep",
        f"/live/classes/{lesson.class_id}/whep",
    )
    try:
        began = time.monotonic()
        (postmaster,) = (p for p in pids(running, "postgres") if _is_first(p))
        os.kill(postmaster, signal.SIGKILL)
        async with aiohttp.ClientSession(running.url) as http:
            answer = await http.post(
                latecomer.url,
                data=(await _an_offer()),
                headers={**latecomer.token, "Content-Type": "application/sdp"},
            )
            assert answer.status == 503 and int(answer.headers["Retry-After"]) <= 3
        school.begin(latecomer)
        await _database_is_back(running)
        back = time.monotonic()
        await until(lambda: bool(latecomer.gaps), 20)
        print(f"joined {time.monotonic() - back:.1f} s after the database was back")
        assert time.monotonic() - back < 3.0
        assert max(s.longest_gap(began) for s in lesson.students) <= 0.5
        lesson.students.append(latecomer)
        await running.settled()
        await asyncio.sleep(4.0)  # two beats
        await assert_attendance(running, school)
    finally:
        await school.close()


async def _an_offer() -> str:
    from aiortc import RTCPeerConnection

    pc = RTCPeerConnection()
    pc.addTransceiver("audio", direction="recvonly")
    await pc.setLocalDescription(await pc.createOffer())
    sdp = str(pc.localDescription.sdp)
    await pc.close()
    return sdp


async def _database_is_back(running: Deployment) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                await running.rows("SELECT 1")
                return
            except (OSError, asyncpg.PostgresError):
                await asyncio.sleep(0.05)


def _is_first(pid: int) -> bool:
    parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return "postgres" not in Path(f"/proc/{parent}/cmdline").read_text().split("\0")[0]
