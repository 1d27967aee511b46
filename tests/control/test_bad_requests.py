"""Whatever is sent: a 4xx with a code and a sentence, and nothing changed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from tests.control.people import School
from tests.control.test_accounts import ADA, send

Client = TestClient[web.Request, web.Application]

BODIES = [
    b"", b"{", b"[]", b"null", b"1", b'"x"', b"\xff\xfe", b'{"title": NaN, "capacity": 1}',
    b"[" * 30_000, b'{"a":' * 10_000, b'{"title": "T"}', b'{"title": "T", "capacity": "5"}',
    b'{"title": "T", "capacity": 5.0}', b'{"title": "T", "capacity": true}',
    b'{"title": "T", "capacity": 0}', b'{"title": "T", "capacity": -1}',
    b'{"title": "T", "capacity": 1000001}', b'{"title": "T", "capacity": 1e2}',
    b'{"title": "T", "capacity": 99999999999999999999999999}',
    b'{"title": "", "capacity": 1}', b'{"title": "  ", "capacity": 1}',
    b'{"title": null, "capacity": 1}', b'{"title": "a\\u0000b", "capacity": 1}',
    b'{"title": "a\\nb", "capacity": 1}', b'{"title": "\\u200b\\u200d\\ufeff", "capacity": 1}',
    b'{"title": "\\u3164", "capacity": 1}', b'{"title": "\\u202egnp.exe", "capacity": 1}',
    b'{"title": "\\ud800", "capacity": 1}', b'{"title": "T", "capacity": 1, "state": "live"}',
    b'{"title": "T", "capacity": 1, "teacher_id": "x"}',
    b'{"title": "T", "capacity": 1, "capacity": 2}', b'{"title": "\\ufdd0", "capacity": 1}',
    b'{"title": "\\udb40\\udc01", "capacity": 1}', b'{"title": "\\uffff", "capacity": 1}',
    json.dumps({"title": "x" * 201, "capacity": 1}).encode(),
    json.dumps({"title": "x" * 60_000, "capacity": 1}).encode(),
]  # fmt: skip


@pytest.fixture
async def teacher(client: Client) -> Client:
    await send(client, "POST", "/api/accounts", ADA)
    return client


async def problem_of(response: Any) -> Any:
    assert response.content_type == "application/problem+json"
    body = json.loads(await response.read())
    assert {"type", "title", "status", "detail", "code"} <= set(body)
    assert body["status"] == response.status and body["detail"].endswith(".")
    return body


async def test_bodies_that_are_no_class_create_nothing(teacher: Client, school: School) -> None:
    origin = {"Origin": str(teacher.make_url("")).rstrip("/"), "Content-Type": "application/json"}
    for body in BODIES:
        async with teacher.post("/api/classes", data=body, headers=origin) as response:
            assert response.status in (400, 422), body[:60]
            assert (await problem_of(response))["code"] == "invalid_request"
    assert await school.sql.fetchval("SELECT count(*) FROM class") == 0


async def test_a_body_over_the_limit_is_too_large(teacher: Client) -> None:
    origin = {"Origin": str(teacher.make_url("")).rstrip("/"), "Content-Type": "application/json"}
    async with teacher.post("/api/classes", data=b" " * 70_000, headers=origin) as response:
        assert (response.status, (await problem_of(response))["code"]) == (413, "too_large")

    async def chunks() -> Any:
        for _ in range(70):
            yield b" " * 1000

    async with teacher.post("/api/classes", data=chunks(), headers=origin) as response:
        assert (response.status, (await problem_of(response))["code"]) == (413, "too_large")


async def test_sign_up_refuses_what_is_no_person(client: Client, school: School) -> None:
    wrong: list[dict[str, Any]] = [
        {"email": "x"}, {"email": "a@"}, {"email": "@b"}, {"email": "a@b@c"}, {"email": "a b@c"},
        {"email": "a@b\u200b"}, {"email": "\ufdfa" * 200 + "@b.de"},
        {"email": "x" * 250 + "@b.de"}, {"email": 5},
        {"password": "short"}, {"password": "x" * 257}, {"password": None},
        {"role": "admin"}, {"role": ["teacher"]}, {"name": "\u200b"}, {"name": "x" * 101},
        {"is_operator": True},
    ]  # fmt: skip
    for change in wrong:
        status, problem = await send(client, "POST", "/api/accounts", ADA | change)
        assert (status, problem["code"]) == (422, "invalid_request"), change
    assert await school.sql.fetchval("SELECT count(*) FROM account") == 0


async def test_every_error_is_a_problem(teacher: Client) -> None:
    for method, path, status, code in (
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/api/nowhere", 404, "not_found"),
        ("PUT", "/api/classes", 405, "method_not_allowed"),
        ("GET", "/api/classes/not-an-id", 404, "not_found"),
        ("GET", "/api/classes/01900000-0000-7000-8000-000000000000/attendance", 404, "not_found"),
        ("GET", "/api/links/%00", 404, "link_invalid"),
        ("GET", "/api/links/%C3%BC", 404, "link_invalid"),
        ("GET", "/api/links/" + "x" * 500, 404, "link_invalid"),
        ("GET", "/api/links/x/events", 404, "link_invalid"),
    ):
        async with teacher.request(
            method, path, headers={"Origin": str(teacher.make_url("")).rstrip("/")}
        ) as response:
            problem = await problem_of(response)
            assert (response.status, problem["code"]) == (status, code), path
            assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_another_sites_page_changes_nothing(teacher: Client, school: School) -> None:
    body = {"title": "T", "capacity": 1}
    for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {}):
        async with teacher.post("/api/classes", json=body, headers=headers) as response:
            assert (response.status, (await problem_of(response))["code"]) == (403, "bad_origin")
    assert await school.sql.fetchval("SELECT count(*) FROM class") == 0
    teacher.session.cookie_jar.clear()
    login = {"email": ADA["email"], "password": ADA["password"]}
    async with teacher.post(
        "/api/session", json=login, headers={"Origin": "https://evil.example"}
    ) as response:
        assert response.status == 403
    async with teacher.post("/api/session", json=login) as response:
        assert response.status == 200


async def test_forged_tokens_are_not_signed_in(client: Client) -> None:
    for headers in (
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer x"},
        {"Authorization": "Basic YTpi"},
        {"Authorization": "Bearer \u00fc\u00fc"},
        {"Cookie": "lectern_session=" + "A" * 43},
        {"Cookie": "lectern_session="},
    ):
        async with client.get("/api/me", headers=headers) as response:
            assert (response.status, (await problem_of(response))["code"]) == (
                401, "not_signed_in",
            )  # fmt: skip


async def test_expired_sessions_are_not_signed_in(teacher: Client, school: School) -> None:
    assert (await send(teacher, "GET", "/api/me"))[0] == 200
    await school.sql.execute("UPDATE session_token SET used_at = used_at - interval '31 days'")
    assert (await send(teacher, "GET", "/api/me"))[0] == 401
    await school.sql.execute(
        "UPDATE session_token SET used_at = clock_timestamp(), expires_at = clock_timestamp()"
    )
    assert (await send(teacher, "GET", "/api/me"))[0] == 401


async def test_without_the_database_the_answer_is_try_again(
    teacher: Client, school: School
) -> None:
    await school.plane._database.pool.close()
    async with teacher.get("/api/me") as response:
        problem = await problem_of(response)
        assert (response.status, problem["code"]) == (503, "try_again")
        assert response.headers["Retry-After"] == "1"
    async with teacher.get("/readyz") as response:
        assert response.status == 503
    async with teacher.get("/healthz") as response:
        assert response.status == 200


async def test_ready_means_that_a_node_is_registered(client: Client, school: School) -> None:
    async with client.get("/readyz") as response:
        assert (response.status, (await problem_of(response))["code"]) == (503, "no_capacity")
    await school.node()
    async with client.get("/readyz") as response:
        assert response.status == 200


TABLES = (
    "account", "identity", "session_token", "api_token", "class", "class_attendee", "seat",
    "attendance",
)  # fmt: skip


async def snapshot(school: School) -> dict[str, str]:
    """Return what every table holds; the time of a session's last use apart."""
    return {
        name: str(await school.sql.fetch(f"SELECT t FROM {name} AS t ORDER BY t::text"))
        for name in TABLES
    }


async def test_other_peoples_ids_open_nothing_and_change_nothing(
    teacher: Client, school: School
) -> None:
    """Everything that Ada has, tried by Eve: each is refused, and the database is as it was."""
    _, made = await send(teacher, "POST", "/api/classes", {"title": "Maths", "capacity": 9})
    _, token = await send(teacher, "POST", "/api/tokens", {"name": "OBS"})
    _, sessions = await send(teacher, "GET", "/api/sessions")
    one = f"/api/classes/{made['id']}"
    await send(teacher, "POST", one + "/start")
    link = made["link"].rsplit("/", 1)[1]
    pupil = await school.joined(await school.person(), link, await school.node())
    teacher.session.cookie_jar.clear()
    await send(teacher, "POST", "/api/accounts", ADA | {"email": "eve@example.org"})
    before = await snapshot(school)
    for method, path, body, code in (
        ("GET", one, None, "not_owner"),
        ("PATCH", one, {"title": "Mine"}, "not_owner"),
        ("PATCH", one, {"capacity": 1}, "not_owner"),
        ("POST", one + "/start", None, "not_owner"),
        ("POST", one + "/end", None, "not_owner"),
        ("POST", one + "/reopen", None, "not_owner"),
        ("POST", one + "/link", None, "not_owner"),
        ("GET", one + "/attendance", None, "not_owner"),
        ("GET", one + "/attendance.csv", None, "not_owner"),
        ("DELETE", f"/api/tokens/{token['id']}", None, "not_found"),
        ("DELETE", f"/api/sessions/{sessions['items'][0]['id']}", None, "not_found"),
        # An id of another kind is nobody's either.
        ("GET", f"/api/classes/{pupil.session_id}", None, "not_found"),
        ("POST", f"/api/classes/{token['id']}/end", None, "not_found"),
        ("DELETE", f"/api/tokens/{made['id']}", None, "not_found"),
        ("GET", f"/api/links/{made['id']}", None, "link_invalid"),
    ):
        status, problem = await send(teacher, method, path, body)
        assert (status in (403, 404), problem["code"]) == (True, code), path
    for path in ("/api/classes", "/api/tokens", "/api/attended"):
        assert (await send(teacher, "GET", path))[1] == {"items": [], "next": None}
    assert await snapshot(school) == before


async def test_wrong_changes_are_refused_whole(teacher: Client, school: School) -> None:
    _, made = await send(teacher, "POST", "/api/classes", {"title": "Maths", "capacity": 9})
    one = f"/api/classes/{made['id']}"
    before = await snapshot(school)
    for path, body in (
        (one, {"title": "New", "capacity": -1}),
        (one, {"title": "\u200b", "capacity": 5}),
        (one, {"title": "New", "state": "live"}),
        (one, {"title": ["New"]}),
        (one, {"capacity": "5"}),
        (one, {"capacity": None}),
        (one, []),
        ("/api/me", {"name": "Eve", "role": "admin"}),
        ("/api/me", {"name": "Eve", "email": "eve@example.org"}),
        ("/api/me", {"name": "Eve", "is_operator": True}),
        ("/api/me", {"name": "Eve", "password": "short"}),
        ("/api/me", {"role": "student", "name": ""}),
        ("/api/me", {"name": {"first": "Eve"}}),
    ):
        status, problem = await send(teacher, "PATCH", path, body)
        assert status in (400, 422) and problem["code"] == "invalid_request", body
        assert problem["detail"].endswith("."), problem
    for key in ("", "k" * 129, "a\tb"):
        status, problem = await send(
            teacher,
            "POST",
            "/api/classes",
            {"title": "T", "capacity": 1},
            **{"Idempotency-Key": key},
        )
        assert (status, problem["code"]) == (422, "invalid_request"), key
    assert await snapshot(school) == before


async def test_a_stranger_hears_not_signed_in_whatever_was_sent(
    client: Client, school: School
) -> None:
    before = await snapshot(school)
    bearer = {"Authorization": "Bearer " + "A" * 43}
    async with client.get("/api/openapi.json") as response:
        document = await response.json()
    tried = 0
    for path, item in document["paths"].items():
        for method, described in item.items():
            if not path.startswith("/api/") or "security" not in described:
                continue
            address = path.replace("{id}", "01900000-0000-7000-8000-000000000000")
            status, problem = await send(client, method.upper(), address, ["nonsense"], **bearer)
            assert (status, problem["code"]) == (401, "not_signed_in"), (method, path)
            tried += 1
    assert tried > 20
    assert await snapshot(school) == before


async def test_letters_that_this_python_does_not_know_are_letters(teacher: Client) -> None:
    title = "\U0001fae8 \U0001fac6 Maths"  # Unicode 15 and 16
    status, made = await send(teacher, "POST", "/api/classes", {"title": title, "capacity": 1})
    assert (status, made["title"]) == (201, title)
