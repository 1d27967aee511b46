"""Classes and links over HTTP."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient

from tests.control.people import School
from tests.control.test_accounts import ADA, send

Client = TestClient[web.Request, web.Application]


async def created(client: Client, **fields: Any) -> Any:
    """Sign Ada up where she is not and create a class."""
    await send(client, "POST", "/api/accounts", ADA)
    status, made = await send(
        client, "POST", "/api/classes", {"title": "Maths", "capacity": 3} | fields
    )
    assert status == 201
    return made


async def test_a_class_is_created_started_and_ended(client: Client) -> None:
    made = await created(client, title="  Cafe\u0301 ")
    assert set(made) == {
        "id", "title", "capacity", "state", "link", "created_at", "started_at", "ended_at",
        "duration_s", "attendees", "present",
    }  # fmt: skip
    assert made["title"] == "Caf\u00e9" and made["state"] == "created"
    assert made["link"].startswith(str(client.make_url("/c/")))
    path = f"/api/classes/{made['id']}"
    for _ in range(2):
        status, started = await send(client, "POST", path + "/start")
        assert (status, started["state"]) == (200, "live")
    for _ in range(2):
        status, ended = await send(client, "POST", path + "/end")
        assert (status, ended["state"]) == (200, "ended")
    assert ended["started_at"] <= ended["ended_at"] and ended["duration_s"] >= 0
    assert (await send(client, "POST", path + "/start"))[1]["code"] == "class_ended"
    status, reopened = await send(client, "POST", path + "/reopen")
    assert (status, reopened["state"], reopened["ended_at"]) == (200, "live", None)
    assert (await send(client, "GET", path))[1]["state"] == "live"


async def test_reopening_ends_with_the_quarter_of_an_hour(client: Client, school: School) -> None:
    made = await created(client)
    path = f"/api/classes/{made['id']}"
    await send(client, "POST", path + "/start")
    await send(client, "POST", path + "/end")
    await school.sql.execute(
        "UPDATE class SET started_at = started_at - interval '20 min',"
        " ended_at = ended_at - interval '15 min 1 s'"
    )
    status, problem = await send(client, "POST", path + "/reopen")
    assert (status, problem["code"]) == (410, "class_ended")


async def test_a_class_that_never_started_cannot_end(client: Client) -> None:
    made = await created(client)
    status, problem = await send(client, "POST", f"/api/classes/{made['id']}/end")
    assert (status, problem["code"]) == (409, "class_not_live")


async def test_a_teacher_hosts_one_class_at_a_time(client: Client) -> None:
    one, two = await created(client), await created(client)
    await send(client, "POST", f"/api/classes/{one['id']}/start")
    status, problem = await send(client, "POST", f"/api/classes/{two['id']}/start")
    assert (status, problem["code"]) == (409, "active_elsewhere")
    assert problem["class_id"] == one["id"]


async def test_the_list_is_paged_newest_first(client: Client) -> None:
    made = [(await created(client, title=f"Class {n}"))["id"] for n in range(5)]
    seen: list[str] = []
    cursor = ""
    for _ in range(3):
        _, page = await send(client, "GET", f"/api/classes?limit=2{cursor}")
        seen += [item["id"] for item in page["items"]]
        cursor = f"&cursor={page['next']}"
    assert seen == made[::-1] and page["next"] is None
    for bad in ("limit=0", "limit=201", "limit=x", "cursor=%00", "cursor=abc"):
        status, problem = await send(client, "GET", f"/api/classes?{bad}")
        assert (status, problem["code"]) == (422, "invalid_request"), bad


async def test_an_idempotency_key_makes_one_class(client: Client) -> None:
    await created(client)
    body = {"title": "Once", "capacity": 3}
    key = {"Idempotency-Key": "k1"}
    _, one = await send(client, "POST", "/api/classes", body, **key)
    status, two = await send(client, "POST", "/api/classes", body, **key)
    assert (status, two["id"]) == (201, one["id"])
    status, problem = await send(client, "POST", "/api/classes", body | {"capacity": 4}, **key)
    assert (status, problem["code"]) == (422, "invalid_request")


async def test_a_link_shows_the_class_to_anybody_and_dies_when_rotated(client: Client) -> None:
    made = await created(client)
    token = made["link"].rsplit("/", 1)[1]
    status, shown = await send(client, "GET", f"/api/links/{token}")
    assert status == 200 and set(shown) == {
        "class_id", "title", "teacher_name", "state", "attendees", "present", "capacity",
        "started_at", "duration_s",
    }  # fmt: skip
    assert (shown["class_id"], shown["teacher_name"]) == (made["id"], "Ada")
    _, rotated = await send(client, "POST", f"/api/classes/{made['id']}/link")
    assert rotated["link"] != made["link"]
    status, problem = await send(client, "GET", f"/api/links/{token}")
    assert (status, problem["code"]) == (404, "link_invalid")
    assert (await send(client, "GET", "/api/links/" + rotated["link"].rsplit("/", 1)[1]))[0] == 200


async def test_other_peoples_classes_are_not_shown_or_changed(client: Client) -> None:
    made = await created(client)
    await send(client, "DELETE", "/api/session")
    await send(client, "POST", "/api/accounts", ADA | {"email": "eve@example.org"})
    path = f"/api/classes/{made['id']}"
    attempts = [("GET", ""), ("PATCH", ""), ("POST", "/start"), ("POST", "/end"), ("POST", "/link"),
                ("POST", "/reopen")]  # fmt: skip
    for method, rest in attempts:
        body = {"title": "Mine"} if method == "PATCH" else None
        status, problem = await send(client, method, path + rest, body)
        assert (status, problem["code"]) == (403, "not_owner"), (method, rest)
    unknown = "/api/classes/01900000-0000-7000-8000-000000000000"
    assert (await send(client, "GET", unknown))[1]["code"] == "not_found"


async def test_capacity_stays_above_those_seated(client: Client, school: School) -> None:
    made = await created(client)
    path = f"/api/classes/{made['id']}"
    await send(client, "POST", path + "/start")
    for person in await school.people(2):
        await school.plane.admit(person, link_token=made["link"].rsplit("/", 1)[1])
    status, problem = await send(client, "PATCH", path, {"capacity": 1})
    assert (status, problem["code"]) == (409, "capacity_below_used")
    status, changed = await send(client, "PATCH", path, {"capacity": 2, "title": "Two"})
    assert (status, changed["capacity"], changed["title"]) == (200, 2, "Two")
