"""Light clients without manners: aiortc's students and teachers, driven by a seed."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import aiohttp
from aiortc import RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack

from tests.chaos.ledger import Ledger, Stay
from tests.sfu.clients import Client

REQUEST_S = 40.0  # longer than the longest stop: an answer that comes late is still one
DEAF_S = 5.0  # pings come every 2 s; without one for so long, a page posts anew
RETRY_S = 0.3
REVOKED_FOR_S = 8.0  # how long a client that lost its place listens on
EXPECTED = {
    "class_full", "active_elsewhere", "class_not_live", "class_ended", "try_again", "no_capacity",
    "not_found", "replaced",
}  # fmt: skip


class Refused(Exception):
    """A problem of the contract, by its code."""


class Body(Client):
    """One peer connection of a student or a teacher, and its stay in the ledger."""

    stay: Stay
    asked_at = float("inf")  # when the node last asked whether we live

    async def post(self, path: str, stay: Stay) -> None:
        self.stay = stay
        await self.pc.setLocalDescription(await self.pc.createOffer())
        headers = {**self.headers, "Content-Type": "application/sdp"}
        async with self.http.post(
            path, data=self.pc.localDescription.sdp, headers=headers
        ) as response:
            text = await response.text()
            if response.status != 201:
                raise Refused((await response.json())["code"])
            self.location = response.headers["Location"]
            self.resume = response.headers["Lectern-Resume"]
        *_, node, session = self.location.split("/")
        stay.session_id, stay.node_id = UUID(session), UUID(node)
        self.asked_at = time.time()
        await self.pc.setRemoteDescription(RTCSessionDescription(text, "answer"))

    def _hear(self, data: bytes) -> None:
        self.asked_at = time.time()
        super()._hear(data)

    def _count(self, receiver: Any, kind: str) -> None:
        async def handle(packet: Any, arrival_time_ms: int) -> None:
            self.packets[kind] += 1
            self.stay.heard_at = self.asked_at = time.time()

        receiver._handle_rtp_packet = handle


@dataclass
class Lesson:
    """A class and the person who teaches it."""

    class_id: str
    link: str
    token: dict[str, str]
    user_id: UUID
    body: Body | None = None


@dataclass
class School:
    """Everybody, on one server."""

    http: aiohttp.ClientSession
    ledger: Ledger
    dice: random.Random
    lessons: list[Lesson] = field(default_factory=list)
    students: list[Student] = field(default_factory=list)
    done: dict[str, int] = field(default_factory=dict)

    def count(self, what: str) -> None:
        self.done[what] = self.done.get(what, 0) + 1

    async def sign_up(self, role: str) -> tuple[UUID, dict[str, str]]:
        name = f"{role}-{secrets.token_hex(6)}"
        # A name makes no password.
        secret = secrets.token_urlsafe(12)
        account = {"email": f"{name}@example.org", "name": name, "password": secret, "role": role}
        origin = {"Origin": str(self.http._base_url).rstrip("/")}
        async with self.http.post("/api/accounts", json=account, headers=origin) as response:
            assert response.status == 201, await response.text()
            user_id = UUID((await response.json())["id"])
        async with self.http.post("/api/tokens", json={"name": "t"}, headers=origin) as response:
            assert response.status == 201, await response.text()
            token = (await response.json())["token"]
        self.http.cookie_jar.clear()
        return user_id, {"Authorization": f"Bearer {token}"}

    async def ask(self, method: str, path: str, who: dict[str, str], **body: Any) -> Any:
        """Ask until an answer comes that is not "try again"."""
        while True:
            try:
                async with self.http.request(method, path, headers=who, json=body or None) as got:
                    if got.status not in (500, 502, 503):
                        assert got.status in (200, 201), await got.text()
                        return await got.json()
                    self.count(f"{got.status} {method}")
            except (aiohttp.ClientError, TimeoutError, OSError):
                pass
            await asyncio.sleep(RETRY_S)

    async def lesson(self, capacity: int) -> Lesson:
        user_id, token = await self.sign_up("teacher")
        made = await self.ask("POST", "/api/classes", token, title="Maths", capacity=capacity)
        started = await self.ask("POST", f"/api/classes/{made['id']}/start", token)
        lesson = Lesson(made["id"], started["link"].rsplit("/", 1)[1], token, user_id)
        self.lessons.append(lesson)
        return lesson

    async def teach(self, lesson: Lesson) -> None:
        """Publish, and again whenever the connection is lost; until cancelled."""
        while True:
            body = Body(self.http, f"/live/classes/{lesson.class_id}/whip", "")  # type: ignore[arg-type]
            body.headers = lesson.token
            body.pc.addTransceiver(AudioStreamTrack(), direction="sendonly")
            lesson.body = body
            try:
                await body.post(body.path, Stay(lesson.user_id, UUID(lesson.class_id), time.time()))
                self.count("published")
                await body.state("connected")
                while body.pc.connectionState == "connected":
                    await asyncio.sleep(0.5)
                    if time.time() - body.asked_at > DEAF_S:
                        break
            except (Refused, aiohttp.ClientError, TimeoutError, OSError):
                pass
            finally:
                await body.close()
            await asyncio.sleep(RETRY_S)

    async def end_and_reopen(self, lesson: Lesson) -> None:
        """End a class and let it go on, while students are on their way."""
        await self.ask("POST", f"/api/classes/{lesson.class_id}/end", lesson.token)
        at = time.time()
        for student in self.students:
            if student.body and str(student.body.stay.class_id) == lesson.class_id:
                student.body.stay.revoked_at = at
        await asyncio.sleep(self.dice.random() * 1.5)
        await self.ask("POST", f"/api/classes/{lesson.class_id}/reopen", lesson.token)
        self.count("ended and reopened")


class Student:
    """Joins, leaves, vanishes, reloads, opens a second tab, resumes, takes over; never waits long."""

    def __init__(
        self, school: School, user_id: UUID, token: dict[str, str], dice: random.Random
    ) -> None:
        self.school = school
        self.user_id = user_id
        self.token = token
        self.dice = dice
        self.body: Body | None = None
        self.old: set[asyncio.Task[None]] = set()

    async def live(self) -> None:
        """Act until cancelled."""
        while True:
            if self.body is None:
                await self.join()
            else:
                await self.watch(self.dice.uniform(0.5, 7.0))
                await self.act()
            await asyncio.sleep(RETRY_S)

    async def join(self, lesson: Lesson | None = None, query: str = "") -> bool:
        """Try to join some class; the place is ours only with the answer."""
        lesson = lesson or self.dice.choice(self.school.lessons)
        if query == "" and self.dice.random() < 0.3:
            query = "?takeover=1"
        stay = self.school.ledger.open_stay(self.user_id, UUID(lesson.class_id))
        body = Body.student(self.school.http, "", "")  # type: ignore[arg-type]
        assert isinstance(body, Body)
        body.headers = self.token
        self.school.count("joins tried")
        try:
            await body.post(f"/live/links/{lesson.link}/whep{query}", stay)
        except Refused as refused:
            assert str(refused) in EXPECTED, refused
            self.school.count(str(refused))
        except (aiohttp.ClientError, TimeoutError, OSError):
            self.school.count("joins unanswered")
        if stay.session_id is None:
            stay.end("refused")
            await body.close()
            return False
        self.school.count("joined")
        self.retire("replaced")
        self.body = body
        return True

    async def watch(self, seconds: float) -> None:
        """Watch until something is wrong or it is enough."""
        assert self.body is not None
        until = time.monotonic() + seconds
        began = time.time()
        while time.monotonic() < until:
            await asyncio.sleep(0.1)
            if self.body.pc.connectionState in ("failed", "closed"):
                return
            if time.time() - max(began, self.body.asked_at) > DEAF_S:
                return

    async def act(self) -> None:
        assert self.body is not None
        lost = self.body.pc.connectionState in ("failed", "closed")
        lost = lost or time.time() - self.body.asked_at > DEAF_S
        actions = [
            self.leave,
            self.page_closed,
            self.vanish,
            self.reload,
            self.second_tab,
            self.resume,
        ]
        await (self.resume if lost else self.dice.choice(actions))()

    async def leave(self, reason: str = "left") -> None:
        """DELETE until it is answered; that is when one has left."""
        body, self.body = self.body, None
        assert body is not None
        query = "" if reason == "left" else f"?reason={reason}"
        body.stay.leave_sent_at = time.time()
        while True:
            try:
                async with body.http.delete(body.location + query, headers=body.headers) as got:
                    if got.status == 204:
                        break
            except (aiohttp.ClientError, TimeoutError, OSError):
                pass
            await asyncio.sleep(RETRY_S)
        body.stay.leave_answered_at = body.stay.revoked_at = time.time()
        body.stay.end(reason)
        self.school.count(reason)
        self.listen_on(body)

    async def page_closed(self) -> None:
        await self.leave("pagehide")

    async def vanish(self) -> None:
        body, self.body = self.body, None
        assert body is not None
        body.vanish()
        body.stay.end("vanished")
        self.school.count("vanished")
        await body.close()

    async def reload(self) -> None:
        """Close the page and open it again at once."""
        assert self.body is not None
        lesson = self.lesson_of(self.body)
        await self.leave("pagehide")
        await self.join(lesson)

    async def second_tab(self) -> None:
        assert self.body is not None
        await self.join(self.lesson_of(self.body))
        self.school.count("second tabs")

    async def resume(self) -> None:
        """Lose the network and continue the session."""
        assert self.body is not None
        body = self.body
        body.vanish()
        body.stay.end("vanished")
        self.school.count("resumed")
        if not await self.join(self.lesson_of(body), f"?resume={body.resume}"):
            self.body = None
            await body.close()

    def lesson_of(self, body: Body) -> Lesson:
        wanted = str(body.stay.class_id)
        return next(lesson for lesson in self.school.lessons if lesson.class_id == wanted)

    def retire(self, how: str) -> None:
        """Another session has taken this one's place: it must be told, and hear no more."""
        if self.body is not None:
            self.body.stay.revoked_at = self.body.stay.revoked_at or time.time()
            self.listen_on(self.body, how)
            self.body = None

    def listen_on(self, body: Body, how: str = "") -> None:
        async def listen() -> None:
            try:
                await asyncio.sleep(REVOKED_FOR_S)
            finally:
                body.stay.end(how or "closed")
                await body.close()

        task = asyncio.create_task(listen())
        self.old.add(task)
        task.add_done_callback(self.old.discard)
