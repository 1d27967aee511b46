"""A whole deployment in one process and in any order of events: real statements on a real PostgreSQL,
with a clock that is moved by hand, nodes that crash and messages that are lost, repeated or late.

The clock: every query of ours asks `clock_timestamp()`. Here a function of that name, in a schema that
stands before pg_catalog in the search path, adds what a table says. So the statements run unchanged.
Shifting the stored times instead would have to know every column, and would move the past as well.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from control import Account, Admission, NodeAddress, Problem
from control.admission import Admissions, Request
from control.beats import Beats, Refused
from control.classes import Classes
from control.database import Database
from control.endings import Endings, ending
from control.ids import uuid7
from control.janitor import Janitor
from control.placement import Placement
from control.redis_map import RedisMap
from control.seats import Seats
from wire.beat import (
    Beat,
    BeatAnswer,
    HeldSession,
    Load,
    Register,
    SessionEvent,
    digest_of,
)

CLOCK = """
    CREATE SCHEMA hands;
    CREATE TABLE hands.clock (ahead interval NOT NULL);
    INSERT INTO hands.clock VALUES ('0');
    CREATE FUNCTION hands.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
        'SELECT pg_catalog.clock_timestamp() + ahead FROM hands.clock';
"""
SEARCH_PATH = "hands, public, pg_catalog"
PEOPLE, CLASSES, NODES, CAPACITY = 4, 2, 2, 2
REFUSALS = {
    "class_full", "active_elsewhere", "class_ended", "class_not_live", "link_invalid", "not_found",
    "replaced", "try_again", "no_capacity",
}  # fmt: skip
Key = tuple[UUID, int]
# One row of: what is wrong, in the classes of one example.
INVARIANTS = """
    WITH mine AS (SELECT * FROM class WHERE class_id = ANY($1::uuid[])),
    segment AS (SELECT attendance.* FROM attendance JOIN mine USING (class_id)),
    place AS (SELECT seat.* FROM seat JOIN mine USING (class_id))
    SELECT 'used' AS what, class_id AS id FROM mine
    WHERE used <> (SELECT count(*) FROM place WHERE place.class_id = mine.class_id AND NOT is_host)
    UNION ALL SELECT 'attendees', class_id FROM mine
    WHERE attendees <> (SELECT count(DISTINCT user_id) FROM segment
                        WHERE segment.class_id = mine.class_id AND connected_at IS NOT NULL)
    UNION ALL SELECT 'live without host', class_id FROM mine
    WHERE (state = 'live') <> EXISTS (
        SELECT FROM place WHERE place.class_id = mine.class_id AND is_host)
    UNION ALL SELECT 'open segment without seat', session_id FROM segment
    WHERE left_at IS NULL AND NOT EXISTS (
        SELECT FROM place WHERE place.session_id = segment.session_id
        AND place.class_id = segment.class_id AND place.fence = segment.fence
        AND grace_until IS NULL)
    UNION ALL SELECT 'seat without open segment', session_id FROM place
    WHERE NOT is_host AND grace_until IS NULL AND NOT EXISTS (
        SELECT FROM segment WHERE segment.session_id = place.session_id AND left_at IS NULL)
    UNION ALL SELECT 'overlap', a.session_id FROM segment AS a
    JOIN segment AS b ON a.user_id = b.user_id AND a.session_id <> b.session_id
     AND a.joined_at < coalesce(b.left_at, 'infinity')
     AND b.joined_at < coalesce(a.left_at, 'infinity') AND a.joined_at <= b.joined_at
    UNION ALL SELECT 'after its class', session_id FROM segment JOIN mine USING (class_id)
    WHERE left_at > ended_at
    UNION ALL SELECT 'after now', session_id FROM segment WHERE left_at > clock_timestamp()
"""


# People who sit nowhere and classes that are live; no node of an earlier example.
BEGIN = """
    WITH gone AS (DELETE FROM node), forgotten AS (DELETE FROM node_notice),
    person AS (
        INSERT INTO account (account_id, name, role)
        SELECT id, 'S', 'student' FROM unnest($1::uuid[]) AS id
        UNION ALL SELECT id, 'T', 'teacher' FROM unnest($2::uuid[]) AS id
    ), lesson AS (
        INSERT INTO class (class_id, teacher_id, title, capacity, link, state, started_at)
        SELECT class_id, teacher_id, 'T', $4, class_id::text, 'live', clock_timestamp()
        FROM unnest($3::uuid[], $2::uuid[]) AS l (class_id, teacher_id)
    )
    INSERT INTO seat (user_id, class_id, is_host, fence, silent_since)
    SELECT teacher_id, class_id, true, nextval('seat_fence'), clock_timestamp()
    FROM unnest($3::uuid[], $2::uuid[]) AS l (class_id, teacher_id)
"""


def _address(url: str) -> NodeAddress:
    return NodeAddress(uuid7(), url, secrets.token_hex(16))


@dataclass
class Held:
    """A session on a node: opened, and perhaps connected."""

    epoch: int
    class_id: UUID
    connected: bool = False
    reported: bool = False  # control has answered that it knows


@dataclass
class ModelNode:
    """A boot of a node as `sfu.beats` behaves, without the network."""

    address: NodeAddress
    sessions: dict[Key, Held] = field(default_factory=dict)
    outbox: list[tuple[str, Key, datetime, str | None]] = field(default_factory=list)
    sequence: int = 0
    cursor: int = 0
    send_sessions: bool = False
    late: list[Beat] = field(default_factory=list)  # attempts that were given up on their way


@dataclass
class Stay:
    """What one person knows of one session."""

    admission: Admission
    began_at: datetime
    connected: bool = False
    gone_at: datetime | None = None
    said: str = ""  # the reason that the person gave


class World:
    """People, classes, nodes, and a ledger of what they were promised and what was."""

    def __init__(self, database: Database, sql: asyncpg.Connection[asyncpg.Record]) -> None:
        self.sql = sql
        self.database = database
        away = RedisMap("redis://127.0.0.1:1")
        away._away_until = float("inf")
        self.admissions = Admissions(database)
        self.endings = Endings(database)
        self.classes = Classes(database)
        self.seats = Seats(database)
        self.beats = Beats(database, away)
        self.placement = Placement(database, away)
        self.janitor = Janitor(database, idle_s=1e9, host_absence_max_s=1e9)
        self.people: list[Account] = []
        self.teachers: list[Account] = []
        self.lessons: list[UUID] = []
        self.nodes: list[ModelNode] = []
        self.stays: list[Stay] = []
        self.current: dict[UUID, Stay] = {}
        self.was_connected: set[UUID] = set()
        # When sessions were continued by requests that nobody heard the answer of.
        self.unheard: dict[UUID, datetime] = {}

    async def begin(self) -> None:
        """New people, classes and nodes: examples share a database and no rows."""
        self.people = [Account(uuid7(), "S", "student", False) for _ in range(PEOPLE)]
        self.teachers = [Account(uuid7(), "T", "teacher", False) for _ in range(CLASSES)]
        self.lessons = [uuid7() for _ in range(CLASSES)]
        await self.sql.execute(
            BEGIN,
            [person.account_id for person in self.people],
            [teacher.account_id for teacher in self.teachers],
            self.lessons,
            CAPACITY,
        )
        for number in range(NODES):
            await self.beats.register(self._registration(address := _address(f"unix:/{number}")))
            self.nodes.append(ModelNode(address))
        # The column's default was bound to the real clock.
        await self.sql.execute("UPDATE node SET alive_at = clock_timestamp()")

    async def close(self) -> None:
        """End the workers that place and bind."""
        await self.seats.close()
        await self.placement.close()

    def _registration(self, address: NodeAddress) -> Register:
        where = (("10.0.0.1", 1),)
        return Register(str(address.node_id), address.secret, address.internal_url, where, "t")

    async def _boot(self, url: str) -> ModelNode:
        address = _address(url)
        await self.beats.register(self._registration(address))
        node = ModelNode(address)
        await self._deliver(node, self._message(node))
        return node

    async def now(self) -> datetime:
        moment: datetime = await self.sql.fetchval("SELECT clock_timestamp()")
        return moment

    # What happens. Every method is one step; its arguments are small numbers.

    async def clock(self, seconds: int) -> None:
        await self.sql.execute(
            "UPDATE hands.clock SET ahead = ahead + make_interval(secs => $1)", float(seconds)
        )

    async def join(self, who: int, where: int, how: str, breaks: str) -> None:
        """Admit, bind, open; `breaks` says where web dies, or which word is lost."""
        person, class_id = self.people[who], self.lessons[where]
        earlier = self.current.get(person.account_id)
        resume = earlier.admission.session_id if earlier and how == "resume" else None
        version = await self.sql.fetchval(
            "SELECT link_version FROM class WHERE class_id = $1", class_id
        )
        if how == "seat":
            version = None
        request = Request(person, class_id, version, how == "takeover", resume)
        (outcome,) = await self.admissions.admit([request])
        if isinstance(outcome, Exception):
            raise outcome
        began_at = self.unheard[outcome.session_id] = await self.now()
        if breaks == "web died after the commit":
            return
        opened = await self._open(outcome, breaks == "first node is slow")
        if opened is None or breaks == "answer was lost":
            return
        if earlier is not None:
            earlier.gone_at = earlier.gone_at or await self.now()
        stay = Stay(outcome, began_at)
        self.stays.append(stay)
        self.current[person.account_id] = stay

    async def _open(self, admission: Admission, slow: bool) -> ModelNode | None:
        excluded: set[UUID] = set()
        for attempt in range(2):
            self.placement._read_at = float("-inf")
            try:
                address = await self.placement.place(admission.class_id, frozenset(excluded))
                await self.seats.bind(admission, address.node_id)
            except Problem:
                await self._abandon(admission)
                return None
            node = next((n for n in self.nodes if n.address == address), None)
            if node is not None and self._takes(node, admission) and not (slow and attempt == 0):
                return node
            excluded.add(address.node_id)
        await self._abandon(admission)
        return None

    def _takes(self, node: ModelNode, admission: Admission) -> bool:
        """Open a session on a node, which may do so without its answer being heard."""
        key = admission.session_id, admission.fence
        node.sessions[key] = Held(admission.epoch, admission.class_id)
        return True

    async def _abandon(self, admission: Admission) -> None:
        kind = ending(
            admission.session_id,
            "never_connected",
            fence=admission.fence,
            user_id=admission.user_id,
        )
        await self.endings.apply([kind])

    async def connect(self, who: int) -> None:
        """The person's packets reach the node."""
        stay = self.current.get(self.people[who].account_id)
        if stay is None or stay.gone_at is not None:
            return
        key = stay.admission.session_id, stay.admission.fence
        for node in self.nodes:
            seat = await self.sql.fetchval("SELECT node_id FROM seat WHERE session_id = $1", key[0])
            held = node.sessions.get(key)
            if held and not held.connected and node.address.node_id == seat:
                held.connected = stay.connected = True
                self.was_connected.add(key[0])
                node.outbox.append(("connected", key, await self.now(), None))

    async def leave(self, who: int, reason: str) -> None:
        stay = self.current.pop(self.people[who].account_id, None)
        if stay is None:
            return
        # Whoever presses leave was there until then, also after seconds of silence.
        stay.said, stay.gone_at = reason, await self.now()
        admission = stay.admission
        end = ending(admission.session_id, reason, user_id=admission.user_id)
        await self.endings.apply([end])

    async def vanish(self, who: int, noticed_after: int) -> None:
        """The person is gone; the node notices some seconds later, if it lives."""
        stay = self.current.get(self.people[who].account_id)
        if stay is None or stay.gone_at is not None:
            return
        stay.gone_at = at = await self.now()
        await self.clock(noticed_after)
        for node in self.nodes:
            for key in [k for k in node.sessions if k[0] == stay.admission.session_id]:
                if node.sessions[key].connected:
                    del node.sessions[key]
                    node.outbox.append(("ended", key, at, "disconnected"))

    async def give_up(self, node_index: int) -> None:
        """A node ends what never connected, as it does after 30 s."""
        node = self.nodes[node_index]
        for key in [k for k, held in node.sessions.items() if not held.connected]:
            del node.sessions[key]
            node.outbox.append(("ended", key, await self.now(), "never_connected"))

    async def beat(self, node_index: int, how: str) -> None:
        node = self.nodes[node_index]
        message = self._message(node, await self.now())
        if how == "lost":
            node.late.append(message)
            return
        if how == "late" and node.late:
            await self._deliver(node, node.late.pop(0), heard=False)
            return
        if how == "unanswered":
            await self._deliver(node, message, heard=False)
            return
        if how == "twice":
            await self._deliver(node, message, heard=False)
        await self._deliver(node, message)

    def _message(self, node: ModelNode, now: datetime | None = None) -> Beat:
        node.sequence += 1
        events = tuple(
            SessionEvent(
                kind,  # type: ignore[arg-type]
                str(session),
                fence,
                round((now - at).total_seconds() * 1000) if now else 0,
                reason,  # type: ignore[arg-type]
            )
            for kind, (session, fence), at, reason in node.outbox
        )
        held = [(str(session), fence) for session, fence in node.sessions]
        whole = tuple(
            HeldSession(str(session), fence, node.sessions[session, fence].connected)
            for session, fence in node.sessions
        )
        return Beat(
            str(node.address.node_id),
            node.sequence,
            node.cursor,
            Load(len(held), 0, 0, 0.0, 0.0),
            events,
            digest=digest_of(held),
            sessions=whole if node.send_sessions else None,
        )

    async def _deliver(self, node: ModelNode, message: Beat, heard: bool = True) -> None:
        try:
            answer = await self.beats.beat(message, node.address.secret)
        except Refused:
            if heard:
                await self._reboot(node)
            return
        assert not answer.hold, "the database was there"
        if heard:
            await self._apply(node, message, answer)

    async def _apply(self, node: ModelNode, message: Beat, answer: BeatAnswer) -> None:
        told = []
        if answer.accepted:
            told = node.outbox[: len(message.events)]
            del node.outbox[: len(message.events)]
        node.cursor = max(node.cursor, answer.cursor)
        node.send_sessions = answer.send_sessions
        now = await self.now()
        for revoked in answer.revoked:
            for key in list(node.sessions):
                if str(key[0]) == revoked.session_id and key[1] <= revoked.fence:
                    if key[1] == revoked.fence:
                        await self._may_end(node, key, revoked.reason)
                    del node.sessions[key]
                    node.outbox.append(("ended", key, now, revoked.reason))
        for ended in answer.ended_classes:
            for key, held in list(node.sessions.items()):
                if str(held.class_id) == ended.class_id and held.epoch <= ended.epoch:
                    await self._may_end(node, key, "class_ended")
                    del node.sessions[key]
                    node.outbox.append(("ended", key, now, "class_ended"))
        for kind, key, _, _ in told:
            if kind == "connected" and key in node.sessions:
                node.sessions[key].reported = True

    async def _may_end(self, node: ModelNode, key: Key, reason: str) -> None:
        """Nobody is thrown out of a seat, nor for a silence while their packets come."""
        seated = await self.sql.fetchval(
            "SELECT EXISTS (SELECT FROM seat WHERE session_id = $1 AND fence = $2"
            " AND node_id = $3 AND grace_until IS NULL)",
            *key,
            node.address.node_id,
        )
        assert not seated, ("a late word ends a session that has its seat", key, reason)
        if not node.sessions[key].reported or reason in ("left", "pagehide", "replaced"):
            return
        there = [s for s in self.current.values() if s.gone_at is None and s.connected]
        keys = [(s.admission.session_id, s.admission.fence) for s in there]
        assert key not in keys or reason == "class_ended", ("thrown out", key, reason)

    async def _reboot(self, node: ModelNode) -> None:
        self.nodes[self.nodes.index(node)] = await self._boot(node.address.internal_url)

    async def crash(self, node_index: int) -> None:
        """The process dies and begins anew at the same place."""
        await self._reboot(self.nodes[node_index])

    async def end(self, where: int) -> None:
        await self.classes.end(self.teachers[where], self.lessons[where])

    async def reopen(self, where: int) -> None:
        await self.classes.reopen(self.teachers[where], self.lessons[where])

    async def rotate(self, where: int) -> None:
        await self.classes.rotate_link(self.teachers[where], self.lessons[where])

    async def sweep(self) -> None:
        await self.janitor.sweep(await self.now())

    async def reap(self) -> None:
        await self.janitor.reap(await self.now())

    # What must be true.

    async def step(self, name: str, *arguments: Any) -> None:
        """Do one step; what the contract may refuse is no failure."""
        try:
            await getattr(self, name)(*arguments)
        except Problem as problem:
            assert problem.code in REFUSALS, problem
        wrong = await self.sql.fetch(INVARIANTS, self.lessons)
        assert not wrong, (name, arguments, [dict(row) for row in wrong])

    async def hold_the_ledger(self) -> None:
        """Let everything settle and everybody go; then compare."""
        for _ in range(3):
            for index in range(len(self.nodes)):
                await self.step("beat", index, "heard")
        for node in self.nodes:
            seated = {
                (row["session_id"], row["fence"])
                for row in await self.database.rows("seat.of_node", node.address.node_id)
            }
            assert set(node.sessions) <= seated, "a node serves what has no seat"
        for who in range(PEOPLE):
            await self.step("vanish", who, 0)
        for index in range(len(self.nodes)):
            await self.step("beat", index, "heard")
        for seconds in (1, 10, 20, 14):  # 45 together; the janitor works every second
            await self.step("clock", seconds)
            for index in range(len(self.nodes)):
                await self.step("beat", index, "heard")
            await self.step("sweep")
            await self.step("reap")
        await self.step("sweep")
        left = await self.sql.fetch(
            "SELECT * FROM seat WHERE NOT is_host AND class_id = ANY($1::uuid[])", self.lessons
        )
        assert not left, ("somebody is blocked 45 s after everything is gone", left)
        await self._segments_match()

    async def _segments_match(self) -> None:
        found = await self.sql.fetch(
            "SELECT * FROM attendance WHERE class_id = ANY($1::uuid[])", self.lessons
        )
        segments = {row["session_id"]: row for row in found}
        for stay in self.stays:
            assert stay.admission.session_id in segments, ("acknowledged and not there", stay)
        for session_id, row in segments.items():
            if row["connected_at"] is None:
                continue
            assert session_id in self.was_connected, ("attended and never connected", row)
            stays = [s for s in self.stays if s.admission.session_id == session_id]
            # What never connected attended no longer than until it was continued.
            gone = max(
                self.unheard[session_id],
                *(s.gone_at or s.began_at if s.connected or s.said else s.began_at for s in stays),
            )
            late = (row["left_at"] - gone).total_seconds()
            if row["reason"] in ("disconnected", "left", "pagehide"):
                assert late < 1.0, (f"attended {late} s too long", row, stays)
