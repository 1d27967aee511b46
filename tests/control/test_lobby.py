"""Who waits with a link hears when the class begins."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient

from control import Control
from tests.control.people import School

Client = TestClient[web.Request, web.Application]


async def next_event(stream: ClientResponse) -> tuple[str, Any]:
    """Return the name and data of the next event."""
    name = ""
    async with asyncio.timeout(10):
        while True:
            line = (await stream.content.readline()).decode().rstrip("\n")
            if line.startswith("event: "):
                name = line[len("event: ") :]
            elif line.startswith("data: "):
                return name, json.loads(line[len("data: ") :])


async def waiting_class(school: School) -> tuple[Any, Any]:
    teacher = await school.person("teacher")
    made = await school.plane._classes.create(teacher, title="Soon", capacity=9, key=None)
    return teacher, made


async def test_a_lobby_hears_start_presence_and_end(client: Client, school: School) -> None:
    teacher, made = await waiting_class(school)
    node = await school.node()
    async with client.get(f"/api/links/{made['link']}/events") as stream:
        assert stream.content_type == "text/event-stream"
        assert await next_event(stream) == ("state", {"state": "created", "present": 0})
        await school.plane._classes.start(teacher, made["class_id"])
        name, data = await next_event(stream)
        assert (name, data["state"]) == ("state", "live") and data["join_after_ms"] >= 0
        await school.joined(await school.person(), made["link"], node)
        assert await next_event(stream) == ("present", {"present": 1})
        await school.plane._classes.end(teacher, made["class_id"])
        assert await next_event(stream) == ("state", {"state": "ended", "present": 0})


async def test_a_lobby_closes_when_its_link_dies(client: Client, school: School) -> None:
    teacher, made = await waiting_class(school)
    async with client.get(f"/api/links/{made['link']}/events") as stream:
        await next_event(stream)
        await school.plane._classes.rotate_link(teacher, made["class_id"])
        assert await next_event(stream) == ("gone", {})
        assert await stream.content.read() == b"\n"
    async with client.get(f"/api/links/{made['link']}/events") as refused:
        assert (refused.status, (await refused.json(content_type=None))["code"]) == (
            404, "link_invalid",
        )  # fmt: skip


async def test_a_full_lobby_is_spread_out(client: Client, school: School) -> None:
    teacher, made = await waiting_class(school)
    from control import lobby

    spread = [lobby._join_after_ms(10_000) for _ in range(200)]
    assert max(spread) > 15_000 and min(spread) < 5_000 and max(spread) <= 20_000
    streams = [await client.get(f"/api/links/{made['link']}/events") for _ in range(20)]
    for stream in streams:
        await next_event(stream)
    await school.plane._classes.start(teacher, made["class_id"])
    for stream in streams:
        name, data = await next_event(stream)
        assert name == "state" and 0 <= data["join_after_ms"] <= 40
        stream.close()


async def test_a_lobby_is_forgotten_when_everybody_has_gone(
    client: Client, school: School, plane: Control
) -> None:
    _, made = await waiting_class(school)
    async with client.get(f"/api/links/{made['link']}/events") as stream:
        await next_event(stream)
        assert plane._lobbies._watchers == 1
    await school.plane._classes.rotate_link(_, made["class_id"])  # the next write finds it closed
    for _ in range(100):
        if not plane._lobbies._lobbies:
            break
        await asyncio.sleep(0.05)
    assert plane._lobbies._lobbies == {} and plane._lobbies._watchers == 0
