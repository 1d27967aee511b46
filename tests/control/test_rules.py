"""The rules of the product, seen from outside; tests/README.md says which test shows which rule."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

from aiohttp import ClientSession, web
from aiohttp.test_utils import TestClient

from tests.control.people import School, code_of, codes_of
from tests.control.test_accounts import ADA, send
from tests.control.test_attendance import account_of

Client = TestClient[web.Request, web.Application]

MATHS = {"title": "Maths", "capacity": 3}


async def taught(client: Client, **fields: Any) -> tuple[Any, str]:
    """Let who is signed in start a class; return it and its link's token."""
    _, made = await send(client, "POST", "/api/classes", MATHS | fields)
    _, started = await send(client, "POST", f"/api/classes/{made['id']}/start")
    return started, started["link"].rsplit("/", 1)[1]


async def test_a_person_teaches_and_attends_over_time(client: Client, school: School) -> None:
    _, user = await send(client, "POST", "/api/accounts", ADA | {"role": "student"})
    assert user["role"] == "student"
    _, _, others = await school.live_class()
    node, ada = await school.node(), await account_of(school, user["id"])
    # As a student she attends; her role cannot change in the middle of it.
    session = await school.joined(ada, others, node)
    assert (await send(client, "PATCH", "/api/me", {"role": "teacher"}))[1]["code"] == "role_busy"
    await school.plane.leave(ada, session.session_id, "left")
    _, user = await send(client, "PATCH", "/api/me", {"role": "teacher"})
    assert user["role"] == "teacher"
    # As a teacher she teaches, and attends what others teach.
    made, _ = await taught(client)
    assert (await send(client, "PATCH", "/api/me", {"role": "student"}))[1]["code"] == "role_busy"
    await send(client, "POST", f"/api/classes/{made['id']}/end")
    await school.joined(await account_of(school, user["id"]), others, node)
    await school.plane.leave(ada, (await school.seat(ada))["session_id"], "left")  # type: ignore[index]
    # As a student again she keeps what she owns, and creates nothing.
    assert (await send(client, "PATCH", "/api/me", {"role": "student"}))[0] == 200
    assert [c["id"] for c in (await send(client, "GET", "/api/classes"))[1]["items"]] == [
        made["id"]
    ]
    assert len((await send(client, "GET", "/api/attended"))[1]["items"]) == 1
    assert (await send(client, "POST", "/api/classes", MATHS))[1]["code"] == "not_teacher"


async def test_only_teachers_create_classes_and_choose_title_and_capacity(
    client: Client, school: School
) -> None:
    await send(client, "POST", "/api/accounts", ADA | {"role": "student"})
    status, problem = await send(client, "POST", "/api/classes", MATHS)
    assert (status, problem["code"]) == (403, "not_teacher")
    assert await school.sql.fetchval("SELECT count(*) FROM class") == 0
    await send(client, "POST", "/api/accounts", ADA | {"email": "t@example.org"})
    for capacity in (1, 1_000_000):
        status, made = await send(
            client, "POST", "/api/classes", {"title": "Grande É", "capacity": capacity}
        )
        assert (status, made["title"], made["capacity"]) == (201, "Grande É", capacity)
    status, made = await send(
        client, "PATCH", f"/api/classes/{made['id']}", {"title": "Small", "capacity": 2}
    )
    assert (made["title"], made["capacity"]) == ("Small", 2)


async def test_a_link_dies_at_once_for_joins_that_are_under_way(school: School) -> None:
    teacher, class_id, link = await school.live_class(capacity=50)
    known, *late = await school.people(21)
    await school.plane.admit(known, link_token=link)
    # The class is held, so that the rotation stands in line before the joins, which have read
    # their link already.
    async with school.sql.transaction():
        await school.sql.execute("SELECT FROM class WHERE class_id = $1 FOR UPDATE", class_id)
        rotation = asyncio.create_task(school.plane._classes.rotate_link(teacher, class_id))
        await _until_waiting(school, 1)
        joins = [asyncio.create_task(school.plane.admit(p, link_token=link)) for p in late]
        await _until_waiting(school, 2)
    await rotation
    admitted, codes = await codes_of(joins)
    assert (admitted, codes) == ([], ["link_invalid"] * 20)
    # Who has a seat stays, and needs no link.
    await school.plane.admit(known, class_id=class_id)
    await school.assert_invariants()


async def _until_waiting(school: School, count: int) -> None:
    """Wait until so many statements of the plane wait for a lock."""
    waiting = (
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        " AND datname = current_database()"
    )
    async with asyncio.timeout(20):
        while await school.sql.fetchval(waiting) < count:
            # Within one transaction pg_stat_activity stands still.
            await school.sql.execute("SELECT pg_stat_clear_snapshot()")
            await asyncio.sleep(0.01)


async def test_the_end_of_a_class_ends_every_attendance(client: Client, school: School) -> None:
    await send(client, "POST", "/api/accounts", ADA)
    made, link = await taught(client)
    node = await school.node()
    there, gone, graced = await school.people(3)
    await school.joined(there, link, node)
    left = await school.joined(gone, link, node)
    await school.plane.leave(gone, left.session_id, "left")
    await node.ended(await school.joined(graced, link, node), "disconnected")
    _, ended = await send(client, "POST", f"/api/classes/{made['id']}/end")
    assert (ended["state"], ended["present"], ended["attendees"]) == ("ended", 0, 3)
    assert await school.sql.fetchval("SELECT count(*) FROM seat") == 0
    reasons = {p: [s["reason"] for s in await school.segments(p)] for p in (there, gone, graced)}
    assert reasons == {there: ["class_ended"], gone: ["left"], graced: ["disconnected"]}
    (segment,) = await school.segments(there)
    over = await school.sql.fetchval("SELECT ended_at FROM class")
    assert segment["left_at"] == over
    assert [end.class_id for end in (await node.beat()).ended_classes] == [made["id"]]
    assert await code_of(school.plane.admit(there, link_token=link)) == "class_ended"
    await school.assert_invariants()


async def test_the_teachers_list_counts_a_rejoin_once(client: Client, school: School) -> None:
    await send(client, "POST", "/api/accounts", ADA)
    made, link = await taught(client, title="Counting", capacity=7)
    node, (faithful, other) = await school.node(), await school.people(2)
    for _ in range(3):
        session = await school.joined(faithful, link, node)
        await school.plane.leave(faithful, session.session_id, "left")
    await school.joined(faithful, link, node)
    await school.joined(other, link, node)
    await school.plane.admit(await school.person(), link_token=link)  # never connects
    _, page = await send(client, "GET", "/api/classes")
    (row,) = page["items"]
    assert (row["title"], row["capacity"], row["state"]) == ("Counting", 7, "live")
    assert (row["attendees"], row["present"]) == (2, 2)
    assert row["created_at"] <= row["started_at"] and row["duration_s"] > 0
    await send(client, "POST", f"/api/classes/{made['id']}/end")
    _, page = await send(client, "GET", "/api/classes")
    (row,) = page["items"]
    assert (row["attendees"], row["present"]) == (2, 0)
    await asyncio.sleep(0.02)
    assert (await send(client, "GET", "/api/classes"))[1]["items"] == [row]  # it lasts no longer


async def test_a_host_joins_neither_the_own_class_nor_another(
    client: Client, school: School
) -> None:
    _, user = await send(client, "POST", "/api/accounts", ADA)
    ada = await account_of(school, user["id"])
    made, link = await taught(client)
    _, other, others = await school.live_class()
    assert await code_of(school.plane.admit(ada, link_token=link)) == "own_class"
    assert await code_of(school.plane.admit(ada, class_id=UUID(made["id"]))) == "own_class"
    for takeover in (False, True):
        attempt = school.plane.admit(ada, link_token=others, takeover=takeover)
        assert await code_of(attempt) == "active_elsewhere"
    await send(client, "POST", f"/api/classes/{made['id']}/end")
    await school.plane.admit(ada, link_token=others)
    # And the other way round: who attends cannot start a class.
    _, next_class = await send(client, "POST", "/api/classes", MATHS)
    status, problem = await send(client, "POST", f"/api/classes/{next_class['id']}/start")
    assert (status, problem["code"]) == (409, "active_elsewhere")
    assert problem["class_id"] == str(other)
    assert (problem["class_title"], problem["is_host"]) == ("Maths", False)
    await school.assert_invariants()


async def test_a_link_shows_title_teacher_attendees_and_duration_in_every_state(
    client: Client, school: School
) -> None:
    await send(client, "POST", "/api/accounts", ADA)
    _, made = await send(client, "POST", "/api/classes", MATHS)
    link, path = made["link"].rsplit("/", 1)[1], f"/api/classes/{made['id']}"
    node, states = await school.node(), []
    for step in ("", "/start", "/end", "/reopen"):
        if step:
            await send(client, "POST", path + step)
        if step == "/start":
            await school.joined(await school.person(), link, node)
        async with (
            ClientSession() as stranger,
            stranger.get(client.make_url(f"/api/links/{link}")) as response,
        ):
            shown = await response.json()
        states.append((shown["state"], shown["attendees"], shown["present"]))
        assert (shown["title"], shown["teacher_name"], shown["capacity"]) == ("Maths", "Ada", 3)
        assert (shown["duration_s"] > 0) == bool(step)
    assert states == [("created", 0, 0), ("live", 1, 1), ("ended", 1, 0), ("live", 1, 0)]
