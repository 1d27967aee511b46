"""Sessions behind the cookie: how long they last, where they are listed, how they end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from control import Control, sessions
from control.sessions import client_of
from tests.control.people import School
from tests.control.test_accounts import ADA, send

Client = TestClient[web.Request, web.Application]

COOKIE = "lectern_session"
LOGIN = {"email": ADA["email"], "password": ADA["password"]}
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


def cookie_of(client: Client) -> str:
    return client.session.cookie_jar.filter_cookies(client.make_url("/"))[COOKIE].value


async def as_session(client: Client, token: str, method: str = "GET", path: str = "/api/me") -> Any:
    """Ask with one session's cookie; returns (status, answer)."""
    client.session.cookie_jar.clear()
    return await send(client, method, path, Cookie=f"{COOKIE}={token}")


async def test_a_session_ends_where_it_is_revoked_and_nowhere_else(client: Client) -> None:
    await send(client, "POST", "/api/accounts", ADA, **{"User-Agent": FIREFOX})
    here = cookie_of(client)
    client.session.cookie_jar.clear()
    await send(client, "POST", "/api/session", LOGIN)
    there = cookie_of(client)
    _, page = await as_session(client, here, path="/api/sessions")
    assert set(page["items"][0]) == {
        "id", "client", "created_at", "used_at", "expires_at", "current",
    }  # fmt: skip
    assert [item["current"] for item in page["items"]] == [False, True]  # newest first
    assert page["items"][1]["client"] == "Firefox on Linux"
    path = f"/api/sessions/{page['items'][0]['id']}"
    assert (await as_session(client, here, "DELETE", path))[0] == 204
    assert (await as_session(client, there))[0] == 401
    assert (await as_session(client, here))[0] == 200
    assert (await as_session(client, here, "DELETE", path))[1]["code"] == "not_found"


async def test_other_sessions_end_together_and_this_one_stays(client: Client) -> None:
    await send(client, "POST", "/api/accounts", ADA)
    tokens = []
    for _ in range(3):
        client.session.cookie_jar.clear()
        await send(client, "POST", "/api/session", LOGIN)
        tokens.append(cookie_of(client))
    assert (await as_session(client, tokens[1], "DELETE", "/api/sessions"))[0] == 204
    assert [(await as_session(client, token))[0] for token in tokens] == [401, 200, 401]


async def test_nobody_revokes_another_persons_session(client: Client, school: School) -> None:
    await send(client, "POST", "/api/accounts", ADA)
    adas = cookie_of(client)
    token_id = await school.sql.fetchval("SELECT token_id FROM session_token")
    await send(client, "DELETE", "/api/session")
    await send(client, "POST", "/api/accounts", ADA | {"email": "eve@example.org"})
    await school.sql.execute(
        "INSERT INTO session_token (token_sha256, token_id, account_id, client, expires_at)"
        " SELECT sha256('x'), $1, account_id, '', 'infinity' FROM identity WHERE subject = $2",
        token_id,
        ADA["email"].lower(),
    )
    status, problem = await send(client, "DELETE", f"/api/sessions/{token_id}")
    assert (status, problem["code"]) == (404, "not_found")
    assert await school.sql.fetchval("SELECT count(*) FROM session_token") == 2
    assert (await as_session(client, adas))[0] == 401  # signed out above, not by Eve


async def test_signing_in_again_ends_the_session_the_browser_forgets(
    client: Client, school: School
) -> None:
    await send(client, "POST", "/api/accounts", ADA)
    before = cookie_of(client)
    await send(client, "POST", "/api/session", LOGIN)
    assert await school.sql.fetchval("SELECT count(*) FROM session_token") == 1
    assert (await as_session(client, before))[0] == 401


async def test_a_signed_out_token_is_of_no_use_again(client: Client) -> None:
    await send(client, "POST", "/api/accounts", ADA)
    token = cookie_of(client)
    await send(client, "DELETE", "/api/session")
    assert (await as_session(client, token))[1]["code"] == "not_signed_in"


async def test_use_is_written_down_at_most_once_an_hour(client: Client, school: School) -> None:
    await send(client, "POST", "/api/accounts", ADA)
    used = "SELECT used_at FROM session_token"
    version = "SELECT xmin::text FROM session_token"
    first = await school.sql.fetchval(version)
    for _ in range(3):
        assert (await send(client, "GET", "/api/me"))[0] == 200
    assert await school.sql.fetchval(version) == first
    await school.sql.execute("UPDATE session_token SET used_at = used_at - interval '61 min'")
    aged = await school.sql.fetchval(used)
    assert (await send(client, "GET", "/api/me"))[0] == 200
    assert (await school.sql.fetchval(used) - aged).total_seconds() > 3600


async def test_an_account_has_a_bounded_number_of_sessions(
    client: Client, school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "SESSIONS_MAX", 3)
    await send(client, "POST", "/api/accounts", ADA)
    oldest = cookie_of(client)
    for _ in range(4):
        client.session.cookie_jar.clear()
        await send(client, "POST", "/api/session", LOGIN)
    newest = cookie_of(client)
    assert await school.sql.fetchval("SELECT count(*) FROM session_token") == 3
    assert (await as_session(client, oldest))[0] == 401
    assert (await as_session(client, newest))[0] == 200


async def test_a_sign_in_by_the_old_password_does_not_outlive_the_change(
    client: Client, plane: Control, school: School
) -> None:
    await send(client, "POST", "/api/accounts", ADA)
    accounts = plane._account_api._accounts
    verify, verified, go_on = plane._passwords.verify, asyncio.Event(), asyncio.Event()

    async def slowly(encoded: str | None, password: str) -> bool:
        right = await verify(encoded, password)
        if verified.is_set():
            return right  # of the change itself
        verified.set()
        await go_on.wait()
        return right

    plane._passwords.verify = slowly  # type: ignore[method-assign]
    late = asyncio.create_task(accounts.sign_in(**LOGIN, address="192.0.2.1", client=""))
    await verified.wait()
    assert (
        await send(
            client,
            "PATCH",
            "/api/me",
            {"password": "another one", "current_password": ADA["password"]},
        )
    )[0] == 200
    go_on.set()
    (outcome,) = await asyncio.gather(late, return_exceptions=True)
    assert getattr(outcome, "code", None) == "try_again"
    assert await school.sql.fetchval("SELECT count(*) FROM session_token") == 1


async def test_expired_sessions_are_neither_listed_nor_kept(client: Client, school: School) -> None:
    await send(client, "POST", "/api/accounts", ADA)
    await school.sql.execute(
        "INSERT INTO session_token (token_sha256, account_id, expires_at, used_at)"
        " SELECT sha256('a'), account_id, now(), now() FROM account UNION ALL"
        " SELECT sha256('b'), account_id, 'infinity', now() - interval '31 days' FROM account"
    )
    _, page = await send(client, "GET", "/api/sessions")
    assert [item["current"] for item in page["items"]] == [True]
    await school.plane._janitor.prune()
    assert await school.sql.fetchval("SELECT count(*) FROM session_token") == 1


def test_a_client_is_named_by_kind_only() -> None:
    windows = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/156.0.0.0"
    assert client_of(windows + " Safari/537.36 Edg/156.0.0.0") == "Edge on Windows"
    assert client_of(windows + " Safari/537.36") == "Chrome on Windows"
    assert client_of(FIREFOX) == "Firefox on Linux"
    assert client_of("") == client_of("x" * 5000) == ""
