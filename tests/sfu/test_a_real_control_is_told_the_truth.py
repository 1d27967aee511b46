"""Signaling, a node and the real control on PostgreSQL and Redis: seats follow connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from control import Control
from sfu._core import Media
from sfu.node import Node
from signaling import Signaling
from tests.sfu.clients import Client
from tests.sfu.conftest import config_of, running
from tests.sfu.control_server import CLUSTER_SECRET, ControlServer

IDLE_S = 600


@dataclass
class Deployment:
    http: TestClient[Any, Any]
    node: Node

    async def person(self, role: str) -> dict[str, str]:
        """Sign somebody up; return the headers that prove them."""
        name = f"{role}{id(object())}"
        account = {
            "email": f"{name}@example.org",
            "name": name,
            "password": "a long password",
            "role": role,
        }
        async with self.http.post("/api/accounts", json=account, headers=self.origin) as response:
            assert response.status == 201, await response.text()
        async with self.http.post(
            "/api/tokens", json={"name": "test"}, headers=self.origin
        ) as response:
            token = (await response.json())["token"]
        self.http.session.cookie_jar.clear()
        return {"Authorization": f"Bearer {token}"}

    @property
    def origin(self) -> dict[str, str]:
        return {"Origin": str(self.http.make_url("")).rstrip("/")}

    async def ask(self, method: str, path: str, who: dict[str, str], **body: Any) -> Any:
        async with self.http.request(method, path, headers=who, json=body or None) as response:
            assert response.status in (200, 201), await response.text()
            return await response.json()

    async def live_class(self, teacher: dict[str, str], capacity: int = 5) -> dict[str, Any]:
        made = await self.ask("POST", "/api/classes", teacher, title="Maths", capacity=capacity)
        started: dict[str, Any] = await self.ask(
            "POST", f"/api/classes/{made['id']}/start", teacher
        )
        return started

    async def present(self, class_: dict[str, Any], wanted: int, limit_s: float = 8.0) -> None:
        token = class_["link"].rsplit("/", 1)[-1]
        async with asyncio.timeout(limit_s):
            while (await self.ask("GET", f"/api/links/{token}", {}))["present"] != wanted:
                await asyncio.sleep(0.2)


@pytest_asyncio.fixture
async def deployment(
    tmp_path: Path, database_url: str, redis_url: str
) -> AsyncIterator[Deployment]:
    control = await Control.open(
        database_url=database_url, redis_url=redis_url, cluster_secret=CLUSTER_SECRET
    )
    internal, public = web.Application(), web.Application()
    control.add_internal_routes(internal)
    control.add_routes(public)
    runner = web.AppRunner(internal)
    await runner.setup()
    await web.UnixSite(runner, f"{tmp_path}/control").start()
    media = Media(host="127.0.0.1", port=0)
    node = Node(config_of(tmp_path, ControlServer(f"{tmp_path}/control")), media)
    async with Signaling(control) as signaling, running(node):
        signaling.add_routes(public)
        async with TestClient(TestServer(public)) as http, asyncio.timeout(60):
            while not node.registered:
                await asyncio.sleep(0.05)
            yield Deployment(http, node)
    media.close()
    await runner.cleanup()
    await control.close()


async def test_a_class_from_its_start_to_its_end(deployment: Deployment) -> None:
    teacher = await deployment.person("teacher")
    pupil = await deployment.person("student")
    class_ = await deployment.live_class(teacher)
    token = class_["link"].rsplit("/", 1)[-1]

    publisher = Client.teacher(deployment.http, f"/live/classes/{class_['id']}/whip")
    publisher.headers = teacher
    await publisher.connect()
    viewer = Client.student(deployment.http, f"/live/links/{token}/whep")
    viewer.headers = pupil
    await viewer.connect()
    hello = await viewer.message("hello")
    assert hello["class"] == {"id": class_["id"], "title": "Maths", "capacity": 5}
    await viewer.media("video", 20)
    await viewer.media("audio", 20)
    await deployment.present(class_, 1)

    # The network was lost: the same session goes on, and nobody joined or left.
    again = Client.student(deployment.http, f"/live/classes/{class_['id']}/whep")
    again.headers = pupil
    await again.connect(f"?resume={viewer.resume}")
    assert again.session_id == viewer.session_id
    await again.media("video", 20)
    await viewer.message("replaced")
    await deployment.present(class_, 1)

    # Another tab takes the place; the first may not have it back.
    tab = Client.student(deployment.http, f"/live/links/{token}/whep")
    tab.headers = pupil
    await tab.connect()
    await tab.message("hello")
    await again.message("replaced")
    refused = await deployment.http.post(
        f"/live/links/{token}/whep?resume={again.resume}",
        data=again.pc.localDescription.sdp,
        headers={**pupil, "Content-Type": "application/sdp"},
    )
    assert refused.status == 409 and (await refused.json())["code"] == "replaced"

    await tab.leave()
    await deployment.present(class_, 0)
    await tab.leave()

    await deployment.ask("POST", f"/api/classes/{class_['id']}/end", teacher)
    await publisher.message("ended")
    async with asyncio.timeout(5):
        while deployment.node.sessions:
            await asyncio.sleep(0.05)
    after = await deployment.ask("GET", f"/api/classes/{class_['id']}", teacher)
    assert (after["state"], after["attendees"]) == ("ended", 1)
    for client in (publisher, viewer, again, tab):
        await client.close()


async def test_the_last_seat_is_given_back_by_a_session_that_never_connects(
    deployment: Deployment,
) -> None:
    teacher = await deployment.person("teacher")
    class_ = await deployment.live_class(teacher, capacity=1)
    path = f"/live/links/{class_['link'].rsplit('/', 1)[-1]}/whep"
    impostor = Client.student(deployment.http, path)
    impostor.headers = await deployment.person("student")
    await impostor.connect(forge=_with_other_fingerprints)
    async with asyncio.timeout(5):
        while deployment.node.sessions:
            await asyncio.sleep(0.05)
    honest = Client.student(deployment.http, path)
    honest.headers = await deployment.person("student")
    async with asyncio.timeout(10):
        while True:
            try:
                await honest.connect()
                break
            except AssertionError:
                await asyncio.sleep(0.2)
    await honest.message("hello")
    await deployment.present(class_, 1)
    for client in (impostor, honest):
        await client.close()


@pytest.mark.long
@pytest.mark.timeout(IDLE_S + 120)
async def test_an_idle_student_without_media_is_not_disconnected(deployment: Deployment) -> None:
    """Ten minutes in a class whose teacher sends nothing, and in one where nobody ever sent."""
    idle: list[tuple[Client, dict[str, str], dict[str, Any]]] = []
    for sends in (True, False):
        teacher = await deployment.person("teacher")
        class_ = await deployment.live_class(teacher)
        if sends:
            publisher = Client.teacher(deployment.http, f"/live/classes/{class_['id']}/whip")
            publisher.headers = teacher
            await publisher.connect()
            await publisher.state("connected")
            publisher.mute()
        path = f"/live/links/{class_['link'].rsplit('/', 1)[-1]}/whep"
        student = Client.student(deployment.http, path)
        student.headers = await deployment.person("student")
        await student.connect()
        await student.message("hello")
        await deployment.present(class_, 1)
        idle.append((student, teacher, class_))
    heard = [dict(student.packets) for student, _, _ in idle]
    until = asyncio.get_running_loop().time() + IDLE_S
    while asyncio.get_running_loop().time() < until:
        await asyncio.sleep(2)
        for student, _, _ in idle:
            assert student.pc.connectionState == "connected"
            ends = [m for m in student.messages if m["type"] in ("ended", "replaced", "moved")]
            assert not ends
    for (student, teacher, class_), before in zip(idle, heard, strict=True):
        # Nothing but a few packets that were under way when the teacher fell silent.
        assert student.packets["video"] - before["video"] < 50
        page = await deployment.ask("GET", f"/api/classes/{class_['id']}/attendance", teacher)
        (row,) = page["items"]
        assert [segment["reason"] for segment in row["segments"]] == [None]
        assert row["duration_s"] >= IDLE_S and row["left_at"] is None
        await student.close()
    await publisher.close()


def _with_other_fingerprints(sdp: str) -> str:
    lines = sdp.split("\r\n")
    return "\r\n".join(
        line[:-5] + ("00:00" if line[-5:] != "00:00" else "11:11")
        if line.startswith("a=fingerprint:")
        else line
        for line in lines
    )
