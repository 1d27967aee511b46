"""A person takes along what is kept of them, and leaves."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aiohttp import ClientPayloadError, web
from aiohttp.test_utils import TestClient

from control import export
from tests.control.people import School
from tests.control.test_accounts import ADA, send
from tests.control.test_attendance import account_of

Client = TestClient[web.Request, web.Application]


async def test_the_export_holds_everything_and_no_secret(
    client: Client, school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "PAGE_ITEMS_MAX", 2)
    _, user = await send(client, "POST", "/api/accounts", ADA)
    _, token = await send(client, "POST", "/api/tokens", {"name": "OBS"})
    titles = [f"Class {n}" for n in range(5)]
    for title in titles:
        await send(client, "POST", "/api/classes", {"title": title, "capacity": 3})
    node, ada = await school.node(), await account_of(school, user["id"])
    teacher, class_id, link = await school.live_class()
    session = await school.joined(ada, link, node)
    await school.plane.leave(ada, session.session_id, "left")
    async with client.get("/api/me/export") as response:
        assert response.status == 200
        assert "attachment" in response.headers["Content-Disposition"]
        text = await response.text()
    kept: dict[str, Any] = json.loads(text)
    assert set(kept) == {"exported_at", "account", "sessions", "tokens", "classes", "attended"}
    assert kept["account"]["email"] == ADA["email"] and kept["account"]["created_at"]
    assert [item["title"] for item in kept["classes"]] == titles[::-1]
    assert [item["name"] for item in kept["tokens"]] == ["OBS"] and len(kept["sessions"]) == 1
    assert kept["attended"][0]["class_id"] == str(class_id)
    assert kept["attended"][0]["segments"][0]["reason"] == "left"
    assert token["token"] not in text and "argon2" not in text


async def test_an_export_that_breaks_off_is_no_whole_document(
    client: Client, school: School
) -> None:
    await send(client, "POST", "/api/accounts", ADA)

    async def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("the database went away half-way")

    (handle,) = (o.handle for o in school.plane._operations if o.name == "exportMe")
    exporting = handle.__self__  # type: ignore[attr-defined]
    exporting._accounts.api_tokens = broken
    with pytest.raises(ClientPayloadError):
        async with client.get("/api/me/export") as response:
            assert response.status == 200
            await response.read()


async def test_deleting_oneself_keeps_attendance_under_deleted_user(
    client: Client, school: School
) -> None:
    _, user = await send(client, "POST", "/api/accounts", ADA | {"role": "student"})
    _, token = await send(client, "POST", "/api/tokens", {"name": "script"})
    ada, node = await account_of(school, user["id"]), await school.node()
    teacher, class_id, link = await school.live_class()
    session = await school.joined(ada, link, node)
    assert (await send(client, "DELETE", "/api/me"))[1]["code"] == "role_busy"
    await school.plane.leave(ada, session.session_id, "left")
    assert (await send(client, "DELETE", "/api/me"))[0] == 204
    bearer = {"Authorization": f"Bearer {token['token']}"}
    assert (await send(client, "GET", "/api/me", **bearer))[0] == 401
    rows = await school.plane._database.rows("attendance.of_class", class_id, None, 9)
    assert [row["name"] for row in rows] == ["Deleted user"]
    everything = ("account", "identity", "session_token", "api_token")
    left = "".join([str(await school.sql.fetch(f"SELECT * FROM {t}")) for t in everything])
    assert "Ada" not in left and "example.org" not in left.lower()
