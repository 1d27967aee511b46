"""Signing up, in and out, over HTTP."""

from __future__ import annotations

import time
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from control import Control
from control.password_rule import PasswordRule
from tests.control.people import School

Client = TestClient[web.Request, web.Application]

ADA = {"email": "Ada@Example.org", "name": "Ada", "password": "correct horse", "role": "teacher"}


async def send(client: Client, method: str, path: str, body: Any = None, **headers: str) -> Any:
    """Send JSON with the page's own Origin; returns (status, answer)."""
    origin = {"Origin": str(client.make_url("")).rstrip("/")}
    options: dict[str, Any] = {"headers": origin | headers}
    if body is not None:
        options["json"] = body
    async with client.request(method, path, **options) as response:
        return response.status, (
            await response.json(content_type=None) if response.status != 204 else None
        )


async def test_sign_up_signs_in_and_sign_out_ends_it(client: Client) -> None:
    async with client.post("/api/accounts", json=ADA) as response:
        assert response.status == 201
        cookie = response.headers["Set-Cookie"]
        user = await response.json()
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie
    assert set(user) == {"id", "email", "name", "role", "is_operator", "active_class"}
    assert user["active_class"] is None and user["role"] == "teacher"
    assert (await send(client, "GET", "/api/me"))[1] == user
    assert (await send(client, "DELETE", "/api/session"))[0] == 204
    status, problem = await send(client, "GET", "/api/me")
    assert (status, problem["code"]) == (401, "not_signed_in")
    status, again = await send(
        client, "POST", "/api/session", {"email": "ada@example.ORG", "password": ADA["password"]}
    )
    assert (status, again) == (200, user)


async def test_only_hashes_of_tokens_and_passwords_are_stored(
    client: Client, school: School
) -> None:
    await send(client, "POST", "/api/accounts", ADA)
    _, made = await send(client, "POST", "/api/tokens", {"name": "OBS"})
    tables = ("session_token", "api_token", "identity", "account")
    dump = "".join([str(await school.sql.fetch(f"SELECT * FROM {name}")) for name in tables])
    cookie = client.session.cookie_jar.filter_cookies(client.make_url("/"))["lectern_session"]
    assert made["token"] not in dump and cookie.value not in dump
    assert ADA["password"] not in dump and "$argon2id$v=19$m=19456,t=2,p=1$" in dump


async def test_an_address_is_taken_once_however_it_is_written(client: Client) -> None:
    assert (await send(client, "POST", "/api/accounts", ADA))[0] == 201
    status, problem = await send(
        client, "POST", "/api/accounts", ADA | {"email": "ADA@EXAMPLE.ORG"}
    )
    assert (status, problem["code"]) == (409, "email_taken")


async def test_sign_in_tells_nobody_whether_an_account_exists(client: Client) -> None:
    await send(client, "POST", "/api/accounts", ADA)

    async def attempt(email: str) -> tuple[float, Any]:
        began = time.perf_counter()
        result = await send(
            client, "POST", "/api/session", {"email": email, "password": "wrong one"}
        )
        return time.perf_counter() - began, result

    known, unknown = [], []
    for n in range(5):  # in turn, so that a busy moment of the machine meets both
        known.append(await attempt("ada@example.org"))
        unknown.append(await attempt(f"nobody{n}@example.org"))
    assert known[0][1] == unknown[0][1]
    assert known[0][1][0] == 401 and known[0][1][1]["code"] == "wrong_credentials"
    fastest_known, fastest_unknown = min(known)[0], min(unknown)[0]
    assert fastest_unknown > fastest_known / 2
    assert fastest_known > fastest_unknown / 2


async def test_failures_are_throttled_per_account_and_address(client: Client) -> None:
    await send(client, "POST", "/api/accounts", ADA)
    wrong = {"email": ADA["email"], "password": "wrong one"}
    codes = [(await send(client, "POST", "/api/session", wrong))[1]["code"] for _ in range(12)]
    assert codes == ["wrong_credentials"] * 10 + ["rate_limited"] * 2
    other = {"email": "somebody@example.org", "password": "wrong one"}
    assert (await send(client, "POST", "/api/session", other))[1]["code"] == "wrong_credentials"


async def test_api_tokens_sign_in_without_a_cookie_or_an_origin(client: Client) -> None:
    await send(client, "POST", "/api/accounts", ADA)
    status, made = await send(client, "POST", "/api/tokens", {"name": "OBS"})
    assert status == 201
    client.session.cookie_jar.clear()
    bearer = {"Authorization": f"Bearer {made['token']}"}
    async with client.get("/api/me", headers=bearer) as response:
        assert response.status == 200
    async with client.post(
        "/api/classes", json={"title": "T", "capacity": 1}, headers=bearer
    ) as response:
        assert response.status == 201
    async with client.get("/api/tokens", headers=bearer) as response:
        listed = await response.json()
    assert [t["id"] for t in listed["items"]] == [made["id"]] and listed["next"] is None
    assert "token" not in listed["items"][0]
    async with client.delete(f"/api/tokens/{made['id']}", headers=bearer) as response:
        assert response.status == 204
    async with client.get("/api/me", headers=bearer) as response:
        assert response.status == 401


async def test_a_changed_password_signs_out_everywhere_else(client: Client) -> None:
    await send(client, "POST", "/api/accounts", ADA)
    _, token = await send(client, "POST", "/api/tokens", {"name": "OBS"})
    change = {"password": "another one", "current_password": ADA["password"]}
    assert (await send(client, "PATCH", "/api/me", change))[0] == 200
    assert (await send(client, "GET", "/api/me"))[0] == 200
    client.session.cookie_jar.clear()
    async with client.get(
        "/api/me", headers={"Authorization": f"Bearer {token['token']}"}
    ) as response:
        assert response.status == 401
    old = {"email": ADA["email"], "password": ADA["password"]}
    assert (await send(client, "POST", "/api/session", old))[0] == 401
    assert (await send(client, "POST", "/api/session", old | {"password": "another one"}))[0] == 200


@pytest.mark.parametrize("current", [None, "wrong one", ADA["password"].upper()])
async def test_a_new_password_takes_the_current_one(client: Client, current: str | None) -> None:
    await send(client, "POST", "/api/accounts", ADA)
    given = {} if current is None else {"current_password": current}
    change = {"name": "Eve", "password": "another one", **given}
    status, problem = await send(client, "PATCH", "/api/me", change)
    expected = (422, "invalid_request") if current is None else (403, "wrong_password")
    assert (status, problem["code"]) == expected
    assert (await send(client, "GET", "/api/me"))[1]["name"] == "Ada"
    login = {"email": ADA["email"], "password": ADA["password"]}
    assert (await send(client, "POST", "/api/session", login))[0] == 200


async def test_a_password_that_changed_meanwhile_is_not_overwritten(
    client: Client, plane: Control, school: School
) -> None:
    await send(client, "POST", "/api/accounts", ADA)
    verify = plane._passwords.verify

    async def slowly(encoded: str | None, password: str) -> bool:
        right = await verify(encoded, password)
        await school.sql.execute("UPDATE identity SET password_hash = 'an operator was here'")
        return right

    plane._passwords.verify = slowly  # type: ignore[method-assign]
    change = {"password": "another one", "current_password": ADA["password"]}
    status, problem = await send(client, "PATCH", "/api/me", change)
    assert (status, problem["code"]) == (503, "try_again")
    kept = await school.sql.fetchval("SELECT password_hash FROM identity")
    assert kept == "an operator was here"


async def test_a_password_is_verified_as_it_was_given(client: Client) -> None:
    secret = " Pa\u0308sswort \u2603 mit Rand " + "x" * 220 + "E "
    await send(client, "POST", "/api/accounts", ADA | {"password": secret})
    for near in (secret.strip(), secret.lower(), secret[:-1], secret.replace("a\u0308", "\u00e4")):
        assert near != secret
        login = {"email": ADA["email"], "password": near}
        assert (await send(client, "POST", "/api/session", login))[0] == 401
    login = {"email": ADA["email"], "password": secret}
    assert (await send(client, "POST", "/api/session", login))[0] == 200


COMMON = [
    *("password", "12345678", "qwertyuiop", "Iloveyou1", "TRUSTNO1", "00000000", "abababab"),
    *("Ada@Example.org", "example.org", "lectern2026!", "Lectern-1", "Lovelace99", "AdaLovelace"),
    "class.school.example",
]


@pytest.mark.parametrize("password", COMMON)
async def test_passwords_that_are_guessed_first_are_refused(
    database_url: str, redis_url: str, password: str
) -> None:
    plane = await Control.open(
        database_url=database_url,
        redis_url=redis_url,
        cluster_secret="a secret for tests",
        public_url="https://class.school.example",
        throttle=False,
    )
    app = web.Application()
    plane.add_routes(app)
    person = ADA | {"name": "Ada Lovelace"}
    try:
        async with TestClient(TestServer(app)) as client:
            refused = await send(client, "POST", "/api/accounts", person | {"password": password})
            assert (refused[0], refused[1]["code"]) == (422, "password_common")
            assert refused[1]["field"] == "password"
            assert (await send(client, "POST", "/api/accounts", person))[0] == 201
            change = {"password": password, "current_password": person["password"]}
            refused = await send(client, "PATCH", "/api/me", change)
            assert (refused[0], refused[1]["code"]) == (422, "password_common")
    finally:
        await plane.close()


def test_no_other_passwords_are_refused_and_enough_are_known() -> None:
    rule = PasswordRule("https://class.school.example")
    assert len(rule._common) >= 3000
    for password in (
        *("correct horse", "a long password", "not so secret 9", "my lectern is made of oak"),
        *("ada likes tea", "xK4-9q!z", "пароль из слов", "lectern and lovelace"),
    ):
        rule.check(password, email="ada@example.org", name="Ada Lovelace")


async def test_role_and_account_stay_while_seated(client: Client) -> None:
    await send(client, "POST", "/api/accounts", ADA)
    _, made = await send(client, "POST", "/api/classes", {"title": "Maths", "capacity": 3})
    await send(client, "POST", f"/api/classes/{made['id']}/start")
    _, user = await send(client, "GET", "/api/me")
    assert user["active_class"] == {
        "id": made["id"], "title": "Maths", "state": "live", "is_host": True,
    }  # fmt: skip
    assert (await send(client, "PATCH", "/api/me", {"role": "student"}))[1]["code"] == "role_busy"
    assert (await send(client, "DELETE", "/api/me"))[1]["code"] == "role_busy"
    await send(client, "POST", f"/api/classes/{made['id']}/end")
    status, user = await send(client, "PATCH", "/api/me", {"role": "student", "name": " Ada L. "})
    assert (status, user["role"], user["name"]) == (200, "student", "Ada L.")
    refused = await send(client, "POST", "/api/classes", {"title": "More", "capacity": 3})
    assert refused[1]["code"] == "not_teacher"
    assert (await send(client, "DELETE", "/api/me"))[0] == 204
    assert (await send(client, "GET", "/api/me"))[0] == 401
    assert (await send(client, "POST", "/api/accounts", ADA))[0] == 201
