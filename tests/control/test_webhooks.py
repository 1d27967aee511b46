"""Webhooks tell what happened in a class: signed, in order, again and again until they are taken."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

import control.webhooks
from control import Control, Webhook
from control.webhooks import ATTEMPTS_MAX, BACKOFF_MAX_S, backoff_s
from tests.control.people import CLUSTER_SECRET, School

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()


@dataclass
class Receiver:
    """Takes webhooks as an operator's server would, and fails when it is told to."""

    taken: list[dict[str, Any]] = field(default_factory=list)
    tries: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    fails: Callable[[dict[str, Any], int], bool] = lambda event, tries: False
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""

    async def post(self, request: web.Request) -> web.Response:
        body = await request.read()
        event_id, moment = request.headers["webhook-id"], request.headers["webhook-timestamp"]
        signed = f"{event_id}.{moment}.".encode() + body
        mac = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
        assert request.headers["webhook-signature"] == f"v1,{mac}"
        assert abs(int(moment) - time.time()) < 60
        event = json.loads(body) | {"id": event_id}
        self.tries[event_id] += 1
        if self.fails(event, self.tries[event_id]):
            return web.Response(status=503)
        self.taken.append(event)
        self.heard.set()
        return web.Response(status=204)

    async def until(self, enough: Callable[[list[dict[str, Any]]], bool]) -> None:
        async with asyncio.timeout(30):
            while not enough(self.taken):
                self.heard.clear()
                await self.heard.wait()

    def kinds(self, class_id: object) -> list[str]:
        return [e["type"] for e in self.taken if e["data"]["class_id"] == str(class_id)]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    app = web.Application()
    app.router.add_post("/hook", made.post)
    async with TestServer(app) as server:
        made.url = str(server.make_url("/hook"))
        yield made


@asynccontextmanager
async def told(
    receiver: Receiver, database_url: str, redis_url: str, sql: asyncpg.Connection[Any]
) -> AsyncIterator[School]:
    """A Control with the receiver as its webhook, once it writes events down."""
    plane = await Control.open(
        database_url=database_url,
        redis_url=redis_url,
        cluster_secret=CLUSTER_SECRET,
        webhook=Webhook(receiver.url, SECRET),
    )
    try:
        async with asyncio.timeout(20):
            while not await _is_on(sql):
                await asyncio.sleep(0.02)
        yield School(plane, sql)
    finally:
        await plane.close()


@pytest.fixture
async def school_told(
    receiver: Receiver,
    database_url: str,
    redis_url: str,
    sql: asyncpg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[School]:
    monkeypatch.setattr(control.webhooks, "POLL_INTERVAL_S", 0.05)
    await sql.execute("TRUNCATE webhook_event")
    async with told(receiver, database_url, redis_url, sql) as school:
        yield school
    # Other tests share the database.
    await sql.execute("SELECT webhook_switch(false)")


async def _is_on(sql: asyncpg.Connection[Any]) -> bool:
    return bool(
        await sql.fetchval(
            "SELECT bool_and(tgenabled <> 'D') FROM pg_trigger WHERE tgname LIKE 'webhook_of_%'"
        )
    )


async def _nothing_waits(school: School) -> None:
    """What was taken is deleted after the answer."""
    async with asyncio.timeout(20):
        while await school.sql.fetchval("SELECT count(*) FROM webhook_event"):
            await asyncio.sleep(0.02)


async def test_a_class_is_told_from_its_start_to_its_attendance(
    receiver: Receiver, school_told: School
) -> None:
    school = school_told
    node = await school.node()
    teacher, class_id, link = await school.live_class()
    student = await school.person()
    admission = await school.joined(student, link, node)
    await school.plane.leave(student, admission.session_id, "left")
    await school.plane._classes.end(teacher, class_id)
    await school.sql.execute(
        "UPDATE webhook_event SET next_at = clock_timestamp() WHERE kind = 'attendance.ready'"
    )
    await receiver.until(lambda taken: any(e["type"] == "attendance.ready" for e in taken))
    assert receiver.kinds(class_id) == [
        "class.started",
        "attendee.joined",
        "attendee.left",
        "class.ended",
        "attendance.ready",
    ]
    joined, left = receiver.taken[1]["data"], receiver.taken[2]["data"]
    assert joined["user_id"] == left["user_id"] == str(student.account_id)
    assert joined["session_id"] == left["session_id"] == str(admission.session_id)
    assert left["reason"] == "left" and joined["joined_at"] < left["left_at"]
    assert student.name not in json.dumps(receiver.taken)
    await _nothing_waits(school)


async def test_a_receiver_that_fails_at_times_gets_everything_once_and_in_order(
    receiver: Receiver, school_told: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control.webhooks, "BACKOFF_MIN_S", 0.05)
    receiver.fails = lambda event, tries: tries <= hash(event["id"]) % 3
    school = school_told
    node = await school.node()
    classes = [await school.live_class() for _ in range(3)]
    for student in await school.people(12):
        _, _, link = classes[student.account_id.int % 3]
        admission = await school.joined(student, link, node)
        await school.plane.leave(student, admission.session_id, "left")
    for teacher, class_id, _ in classes:
        await school.plane._classes.end(teacher, class_id)
    await receiver.until(lambda taken: sum(e["type"] == "class.ended" for e in taken) == 3)
    assert max(receiver.tries.values()) > 1, "nothing failed"
    assert len({e["id"] for e in receiver.taken}) == len(receiver.taken) == 3 * 2 + 12 * 2
    for _, class_id, _ in classes:
        kinds = receiver.kinds(class_id)
        assert (kinds[0], kinds[-1]) == ("class.started", "class.ended")
        assert kinds[1:-1] == ["attendee.joined", "attendee.left"] * (len(kinds) // 2 - 1)


async def test_a_class_whose_receiver_fails_holds_up_no_other(
    receiver: Receiver, school_told: School
) -> None:
    school = school_told
    _, stuck, _ = await school.live_class()
    receiver.fails = lambda event, tries: event["data"]["class_id"] == str(stuck)
    _, other, _ = await school.live_class()
    await receiver.until(lambda taken: any(e["data"]["class_id"] == str(other) for e in taken))
    assert receiver.kinds(stuck) == receiver.kinds(other)[1:] == []


async def test_events_outlive_the_process_that_was_to_send_them(
    receiver: Receiver, school_told: School, database_url: str, redis_url: str
) -> None:
    receiver.fails = lambda event, tries: True
    _, class_id, _ = await school_told.live_class()
    async with asyncio.timeout(20):
        while not receiver.tries:
            await asyncio.sleep(0.02)
    await school_told.plane.close()
    receiver.fails = lambda event, tries: False
    await school_told.sql.execute("UPDATE webhook_event SET next_at = clock_timestamp()")
    async with told(receiver, database_url, redis_url, school_told.sql):
        await receiver.until(lambda taken: bool(taken))
    assert receiver.kinds(class_id) == ["class.started"]


async def test_deliveries_go_on_after_the_database_was_away(
    receiver: Receiver, school_told: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control.webhooks, "RECONNECT_S", 0.05)
    cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name"
    gone = 0

    def fails(event: dict[str, Any], tries: int) -> bool:
        return tries == 1

    receiver.fails = fails
    monkeypatch.setattr(control.webhooks, "BACKOFF_MIN_S", 0.05)
    classes = [await school_told.live_class() for _ in range(5)]
    for _ in range(10):  # while events are on their way
        gone += await school_told.sql.fetchval(f"{cut} IN ('lectern', 'lectern webhooks')")
        await asyncio.sleep(0.05)
    assert gone > 1
    await receiver.until(lambda taken: len({e["id"] for e in taken}) == 5)
    assert {e["data"]["class_id"] for e in receiver.taken} == {str(c) for _, c, _ in classes}
    await _nothing_waits(school_told)


async def test_a_class_that_goes_on_has_no_attendance_ready(
    receiver: Receiver, school_told: School
) -> None:
    teacher, class_id, _ = await school_told.live_class()
    await school_told.plane._classes.end(teacher, class_id)
    await school_told.plane._classes.reopen(teacher, class_id)
    await receiver.until(lambda taken: len(taken) == 3)
    assert receiver.kinds(class_id) == ["class.started", "class.ended", "class.started"]
    assert [e["data"].get("reopened") for e in receiver.taken] == [False, None, True]
    await _nothing_waits(school_told)


async def test_without_a_webhook_nothing_is_written_down(school: School) -> None:
    node = await school.node()
    teacher, class_id, link = await school.live_class()
    await school.joined(await school.person(), link, node)
    await school.plane._classes.end(teacher, class_id)
    assert not await _is_on(school.sql)
    assert await school.sql.fetchval("SELECT count(*) FROM webhook_event") == 0


async def test_a_webhook_that_is_taken_away_leaves_nothing_behind(
    receiver: Receiver, school_told: School, database_url: str, redis_url: str
) -> None:
    receiver.fails = lambda event, tries: True
    await school_told.live_class()
    await school_told.plane.close()
    without = await Control.open(
        database_url=database_url, redis_url=redis_url, cluster_secret=CLUSTER_SECRET
    )
    try:
        async with asyncio.timeout(20):
            while await _is_on(school_told.sql):
                await asyncio.sleep(0.02)
    finally:
        await without.close()
    assert await school_told.sql.fetchval("SELECT count(*) FROM webhook_event") == 0


async def test_an_answer_elsewhere_is_not_followed(receiver: Receiver, school_told: School) -> None:
    """A receiver must not make this server send requests to places of its choice."""
    asked: list[str] = []

    async def elsewhere(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response()

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", elsewhere)
    async with TestServer(app) as inner:
        target = str(inner.make_url("/inside"))
        received = asyncio.Event()

        async def redirect(request: web.Request) -> web.Response:
            received.set()
            raise web.HTTPTemporaryRedirect(target)

        outer_app = web.Application()
        outer_app.router.add_post("/hook", redirect)
        async with TestServer(outer_app) as outer:
            url = str(outer.make_url("/hook"))
            object.__setattr__(school_told.plane._webhooks._webhook, "url", url)
            await school_told.live_class()
            async with asyncio.timeout(20):
                await received.wait()
                while not await school_told.sql.fetchval("SELECT max(attempts) FROM webhook_event"):
                    await asyncio.sleep(0.02)
    assert not asked


def test_pauses_grow_to_hours_and_end_after_a_day_and_a_half() -> None:
    pauses = [backoff_s(attempt, 0.5) for attempt in range(ATTEMPTS_MAX - 1)]
    assert pauses == sorted(pauses) and pauses[0] == 5 and pauses[-1] == BACKOFF_MAX_S
    assert 30 * 3600 < sum(pauses) < 48 * 3600
    assert backoff_s(10_000, 0.0) < BACKOFF_MAX_S
