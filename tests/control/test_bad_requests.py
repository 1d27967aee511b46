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
        {"email": "a@b\u200b"}, {"email": "x" * 250 + "@b.de"}, {"email": 5},
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
