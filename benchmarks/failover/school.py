"""Accounts and classes on a running server, and the people in them."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import aioice.ice

from benchmarks.failover.person import REQUEST_S, Person, until
from benchmarks.registry import BenchmarkError

PLAYING_S = 30.0


@dataclass
class Lesson:
    class_id: str
    teacher: Person
    students: list[Person] = field(default_factory=list)


@dataclass
class School:
    """Everybody, on one server; `close` it when done."""

    base: str
    http: aiohttp.ClientSession
    lessons: list[Lesson] = field(default_factory=list)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @classmethod
    def open(cls, base: str) -> School:
        # Clients and server are on this machine, and aioice leaves its loopback address out.
        aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]
        http = aiohttp.ClientSession(
            base,
            timeout=aiohttp.ClientTimeout(total=REQUEST_S),
            # As browsers do after a failure; a kept connection would be to one web process for ever.
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return cls(base, http)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.http.close()

    @property
    def students(self) -> list[Person]:
        return [student for lesson in self.lessons for student in lesson.students]

    async def lesson(self, students: int, *, capacity: int = 1000) -> Lesson:
        """Open a class with its teacher and students, and wait until all of them play."""
        token = await self.sign_up("teacher")
        made = await self.ask("POST", "/api/classes", token, title="Maths", capacity=capacity)
        started = await self.ask("POST", f"/api/classes/{made['id']}/start", token)
        whip = f"/live/classes/{made['id']}/whip"
        lesson = Lesson(made["id"], Person(self.http, token, whip, whip, teaches=True))
        self.lessons.append(lesson)
        self.begin(lesson.teacher)
        link = started["link"].rsplit("/", 1)[1]
        for _ in range(students):
            await self.join(lesson, link)
        await self.everybody_plays()
        return lesson

    async def join(self, lesson: Lesson, link: str) -> Person:
        token = await self.sign_up("student")
        again = f"/live/classes/{lesson.class_id}/whep"
        student = Person(self.http, token, f"/live/links/{link}/whep", again)
        lesson.students.append(student)
        self.begin(student)
        return student

    def begin(self, person: Person) -> None:
        self._tasks.append(asyncio.create_task(person.live()))

    async def everybody_plays(self, since: float = 0.0, within_s: float = PLAYING_S) -> None:
        """Wait until every student has had a packet since a moment, and lately; BenchmarkError."""
        try:
            await until(lambda: all(self._plays(s, since) for s in self.students), within_s)
        except TimeoutError as error:
            refusals = {code for student in self.students for code in student.refusals}
            raise BenchmarkError(f"Not everybody plays after {within_s} s: {refusals}") from error

    def _plays(self, student: Person, since: float) -> bool:
        return (
            any(at > since for at, _ in student.gaps[-1:])
            and student.longest_gap(asyncio.get_running_loop().time()) < 0.5
        )

    async def sign_up(self, role: str) -> dict[str, str]:
        """Return the header of a new account's token."""
        name = f"{role}-{secrets.token_hex(6)}"
        # A name makes no password.
        secret = secrets.token_urlsafe(12)
        account = {"email": f"{name}@example.org", "name": name, "password": secret, "role": role}
        headers = {"Origin": self.base}
        async with self.http.post("/api/accounts", json=account, headers=headers) as made:
            if made.status != 201:
                raise BenchmarkError(f"No account was made: {await made.text()}")
            headers["Cookie"] = made.headers["Set-Cookie"].partition(";")[0]
        async with self.http.post("/api/tokens", json={"name": "t"}, headers=headers) as made:
            return {"Authorization": f"Bearer {(await made.json())['token']}"}

    async def ask(self, method: str, path: str, who: dict[str, str], **body: Any) -> Any:
        """Return the answer to a call that has to work."""
        async with self.http.request(method, path, headers=who, json=body or None) as got:
            if got.status not in (200, 201):
                raise BenchmarkError(f"{method} {path} answered {got.status}: {await got.text()}")
            return await got.json()
