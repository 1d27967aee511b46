"""People, classes and nodes for tests, made quickly, and the invariants that always hold."""

from __future__ import annotations

import asyncio
import secrets
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from control import Account, Admission, Control, Problem
from control.ids import uuid7
from wire.beat import Beat, BeatAnswer, Load, Register, SessionEvent

CLUSTER_SECRET = "a cluster secret for tests"


class School:
    """Makes rows directly: hashing hundreds of passwords would be the test's whole time."""

    def __init__(self, plane: Control, sql: asyncpg.Connection[asyncpg.Record]) -> None:
        self.plane = plane
        self.sql = sql

    async def people(self, count: int, role: str = "student") -> list[Account]:
        made = [Account(uuid7(), f"{role} {n}", role, False) for n in range(count)]  # type: ignore[arg-type]
        await self.sql.executemany(
            "INSERT INTO account (account_id, name, role) VALUES ($1, $2, $3)",
            [(a.account_id, a.name, a.role) for a in made],
        )
        return made

    async def person(self, role: str = "student") -> Account:
        return (await self.people(1, role))[0]

    async def live_class(self, capacity: int = 10) -> tuple[Account, UUID, str]:
        """Return (teacher, class id, link token) of a class that has started."""
        teacher = await self.person("teacher")
        made = await self.plane._classes.create(teacher, title="Maths", capacity=capacity, key=None)
        await self.plane._classes.start(teacher, made["class_id"])
        return teacher, made["class_id"], made["link"]

    async def link(self, class_id: UUID) -> str:
        return str(await self.sql.fetchval("SELECT link FROM class WHERE class_id = $1", class_id))

    async def node(self) -> FakeNode:
        node = FakeNode(self.plane)
        await node.register()
        return node

    async def node_row(self) -> UUID:
        """Register a node by its row alone."""
        node_id = uuid7()
        await self.sql.execute(
            "INSERT INTO node (node_id, secret, internal_url, addresses, version, lease_until)"
            " VALUES ($1, 's', 'unix:/nowhere', '[]', 'test', clock_timestamp())",
            node_id,
        )
        return node_id

    async def joined(self, person: Account, link: str, node: FakeNode) -> Admission:
        """Admit, bind and connect one student on this node."""
        admission = await self.plane.admit(person, link_token=link)
        await self.plane.place(admission.class_id)
        await self.plane.bind_session(admission, node.node_id)
        await node.connected(admission)
        return admission

    async def now(self) -> datetime:
        moment: datetime = await self.plane._database.value("node.moment")
        return moment

    async def sweep(self) -> int:
        return await self.plane._janitor.sweep(await self.now())

    async def reap(self) -> int:
        return await self.plane._janitor.reap(await self.now())

    async def segments(self, person: Account) -> list[asyncpg.Record]:
        return await self.sql.fetch(
            "SELECT * FROM attendance WHERE user_id = $1 ORDER BY joined_at, session_id",
            person.account_id,
        )

    async def seat(self, person: Account) -> asyncpg.Record | None:
        return await self.sql.fetchrow("SELECT * FROM seat WHERE user_id = $1", person.account_id)

    async def assert_invariants(self) -> None:
        """What must be true after any interleaving."""
        wrong = await self.sql.fetch("""
            SELECT 'used' AS what, class_id AS id FROM class
            WHERE used <> (SELECT count(*) FROM seat
                           WHERE seat.class_id = class.class_id AND NOT is_host)
            UNION ALL SELECT 'attendees', class_id FROM class
            WHERE attendees <> (SELECT count(*) FROM class_attendee AS a
                                WHERE a.class_id = class.class_id)
            UNION ALL SELECT 'live without host', class_id FROM class
            WHERE (state = 'live') <> EXISTS (
                SELECT FROM seat WHERE seat.class_id = class.class_id AND is_host)
            UNION ALL SELECT 'open segment without seat', session_id FROM attendance AS a
            WHERE left_at IS NULL AND NOT EXISTS (
                SELECT FROM seat WHERE seat.session_id = a.session_id
                AND seat.user_id = a.user_id AND seat.class_id = a.class_id
                AND seat.fence = a.fence AND grace_until IS NULL)
            UNION ALL SELECT 'seat without open segment', session_id FROM seat
            WHERE NOT is_host AND grace_until IS NULL AND NOT EXISTS (
                SELECT FROM attendance AS a
                WHERE a.session_id = seat.session_id AND left_at IS NULL)
            UNION ALL SELECT 'overlap', a.session_id FROM attendance AS a
            JOIN attendance AS b ON a.user_id = b.user_id AND a.session_id <> b.session_id
             AND a.joined_at < coalesce(b.left_at, 'infinity')
             AND b.joined_at < coalesce(a.left_at, 'infinity')
             AND a.joined_at <= b.joined_at
            UNION ALL SELECT 'after its class', session_id FROM attendance AS a
            JOIN class USING (class_id) WHERE left_at > ended_at
        """)
        assert wrong == []


class FakeNode:
    """A node as control sees it: its boot id, its secret, its cursor."""

    def __init__(self, plane: Control) -> None:
        self.plane = plane
        self.node_id = uuid7()
        self.secret = secrets.token_urlsafe(24)
        self.url = f"unix:/nowhere/{self.node_id}"
        self.cursor = 0
        self.sequence = 0

    async def register(self) -> None:
        await self.plane._beats.register(
            Register(str(self.node_id), self.secret, self.url, (("127.0.0.1", 1),), "test")
        )

    async def beat(
        self, *events: SessionEvent, secret: str | None = None, **more: Any
    ) -> BeatAnswer:
        self.sequence += 1
        more.setdefault("load", Load(0, 0, 0, 0.0, 0.0))
        message = Beat(str(self.node_id), self.sequence, self.cursor, events=events, **more)
        answer = await self.plane._beats.beat(message, secret or self.secret)
        self.cursor = answer.cursor
        return answer

    async def connected(self, admission: Admission, ms_ago: int = 0) -> BeatAnswer:
        return await self.beat(event("connected", admission, ms_ago))

    async def ended(self, admission: Admission, reason: str, ms_ago: int = 0) -> BeatAnswer:
        return await self.beat(event("ended", admission, ms_ago, reason))


def event(kind: Any, admission: Admission, ms_ago: int = 0, reason: Any = None) -> SessionEvent:
    return SessionEvent(kind, str(admission.session_id), admission.fence, ms_ago, reason)


async def codes_of(attempts: list[Any]) -> tuple[list[Admission], list[str]]:
    """Wait for all; return the admissions and the codes of the refusals."""
    results = await asyncio.gather(*attempts, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, Problem):
            raise result
    admitted = [r for r in results if isinstance(r, Admission)]
    return admitted, [r.code for r in results if isinstance(r, Problem)]


async def code_of(attempt: Any) -> str:
    """Return the code with which the attempt is refused."""
    _, codes = await codes_of([attempt])
    assert codes, "the attempt was not refused"
    return codes[0]
