"""What operators do with accounts: at once, and with everything that hangs on an account."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from control import Control, Operators, Problem
from control.operators import NEW_PASSWORD_S
from tests.control.people import School, code_of
from tests.control.test_accounts import ADA, send
from tests.control.test_attendance import account_of

Client = TestClient[web.Request, web.Application]

BOB = ADA | {"email": "bob@example.org", "name": "Bob", "role": "student"}


@pytest.fixture
async def operators(database_url: str) -> AsyncIterator[Operators]:
    opened = await Operators.open(database_url)
    yield opened
    await opened.close()


def login_of(person: dict[str, str]) -> dict[str, str]:
    return {"email": person["email"], "password": person["password"]}


async def test_the_list_shows_everybody_and_what_they_are(
    client: Client, operators: Operators
) -> None:
    await send(client, "POST", "/api/accounts", ADA)
    await send(client, "POST", "/api/accounts", BOB)
    await operators.make_operator("ADA@example.org")
    await operators.disable(BOB["email"])
    users = [user async for user in operators.users()]
    assert [(u.email, u.role, u.is_operator, u.is_disabled) for u in users] == [
        (ADA["email"], "teacher", True, False),
        (BOB["email"], "student", False, True),
    ]
    await operators.delete(BOB["email"])
    assert [u.email async for u in operators.users()] == [ADA["email"]]


async def test_a_reset_password_signs_out_and_lets_in(client: Client, operators: Operators) -> None:
    await send(client, "POST", "/api/accounts", ADA)
    _, token = await send(client, "POST", "/api/tokens", {"name": "OBS"})
    new = await operators.reset_password(ADA["email"])
    assert (await send(client, "GET", "/api/me"))[0] == 401
    bearer = {"Authorization": f"Bearer {token['token']}"}
    assert (await send(client, "GET", "/api/me", **bearer))[0] == 401
    assert (await send(client, "POST", "/api/session", login_of(ADA)))[0] == 401
    status, _ = await send(client, "POST", "/api/session", {"email": ADA["email"], "password": new})
    assert status == 200


async def test_a_reset_password_ends_by_itself_and_a_chosen_one_does_not(
    client: Client, operators: Operators, school: School
) -> None:
    await send(client, "POST", "/api/accounts", ADA)
    new = await operators.reset_password(ADA["email"])
    login = {"email": ADA["email"], "password": new}
    later = "UPDATE identity SET password_until = password_until - make_interval(secs => $1)"
    await school.sql.execute(later, NEW_PASSWORD_S - 60)
    assert (await send(client, "POST", "/api/session", login))[0] == 200
    change = {"password": "chosen by Ada", "current_password": new}
    await school.sql.execute(later, 120.0)
    client.session.cookie_jar.clear()
    assert (await send(client, "POST", "/api/session", login))[0] == 401

    login["password"] = change["current_password"] = await operators.reset_password(ADA["email"])
    assert (await send(client, "POST", "/api/session", login))[0] == 200
    assert (await send(client, "PATCH", "/api/me", change))[0] == 200
    await school.sql.execute(later, 2 * NEW_PASSWORD_S)
    login["password"] = change["password"]
    assert (await send(client, "POST", "/api/session", login))[0] == 200


async def test_a_disabled_student_is_out_of_class_at_once(
    client: Client, school: School, operators: Operators
) -> None:
    _, class_id, link = await school.live_class()
    _, user = await send(client, "POST", "/api/accounts", BOB)
    bob, node = await account_of(school, user["id"]), await school.node()
    session = await school.joined(bob, link, node)
    await operators.disable(BOB["email"])
    assert await school.seat(bob) is None
    assert [s["reason"] for s in await school.segments(bob)] == ["left"]
    assert [r.session_id for r in (await node.beat()).revoked] == [str(session.session_id)]
    assert (await send(client, "GET", "/api/me"))[1]["code"] == "not_signed_in"
    refused = await send(client, "POST", "/api/session", login_of(BOB))
    unknown = await send(
        client, "POST", "/api/session", {"email": "no@example.org", "password": "whatever"}
    )
    assert refused == unknown and refused[1]["code"] == "wrong_credentials"
    assert await code_of(school.plane.admit(bob, link_token=link)) == "not_signed_in"
    await operators.enable(BOB["email"])
    assert (await send(client, "POST", "/api/session", login_of(BOB)))[0] == 200
    await school.assert_invariants()


async def test_a_disabled_teachers_class_ends(
    client: Client, school: School, operators: Operators
) -> None:
    await send(client, "POST", "/api/accounts", ADA)
    _, made = await send(client, "POST", "/api/classes", {"title": "Maths", "capacity": 9})
    await send(client, "POST", f"/api/classes/{made['id']}/start")
    pupil, link = await school.person(), made["link"].rsplit("/", 1)[1]
    await school.joined(pupil, link, await school.node())
    await operators.disable(ADA["email"])
    assert (await send(client, "GET", f"/api/links/{link}"))[1]["state"] == "ended"
    assert [s["reason"] for s in await school.segments(pupil)] == ["class_ended"]
    await school.assert_invariants()


async def test_a_deleted_persons_attendance_stays_without_the_name(
    client: Client, school: School, operators: Operators, plane: Control
) -> None:
    teacher, class_id, link = await school.live_class()
    _, user = await send(client, "POST", "/api/accounts", BOB)
    bob, node = await account_of(school, user["id"]), await school.node()
    await school.joined(bob, link, node)
    await operators.delete(BOB["email"])
    rows: list[Any] = await plane._database.rows("attendance.of_class", class_id, None, 10)
    assert [(row["name"], row["reason"]) for row in rows] == [("Deleted user", "left")]
    assert "bob" not in str(await school.sql.fetch("SELECT * FROM account")).lower()
    assert await school.sql.fetchval("SELECT count(*) FROM identity") == 0
    assert (await send(client, "POST", "/api/accounts", BOB))[0] == 201
    await school.assert_invariants()


async def test_nobody_is_found_by_an_unknown_address(operators: Operators) -> None:
    for attempt in (operators.disable, operators.delete, operators.reset_password):
        with pytest.raises(Problem, match="There is no account with the address x@y"):
            await attempt("x@y")
