"""Nodes register and beat: what they report is written down, what they must know is answered.

Revocations and ends of classes wait in `node_notice`. Their order is the number of the transaction
that wrote them; a node's cursor is the number below which every transaction is over. So a notice
that is committed late, behind one with a higher number, is still ahead of the cursor, and notices
repeat until the cursor has passed them.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from control.database import AWAY, Connection, Database, rows
from control.endings import Ending, end_sessions, ending, lock_classes_of
from control.ids import parse_uuid
from control.placement import SESSIONS_FULL, busyness
from control.problem import Problem
from control.redis_map import RedisMap
from control.trees import Trees
from wire.beat import (
    LEASE_S,
    LOST_LINKS_PER_BEAT_MAX,
    Beat,
    BeatAnswer,
    EndedClass,
    HeldSession,
    Load,
    MovedClass,
    Register,
    Registered,
    Revocation,
    SessionEvent,
    digest_of,
)

log = logging.getLogger(__name__)

# One transaction's share of a beat: its classes stay locked meanwhile.
EVENTS_PER_TRANSACTION_MAX = 500
# A database that stands still must not look like a control that is gone: `hold` is said before the
# node gives the attempt up (after 2.5 s). The work goes on until the node's next attempt, so a database
# that is only slow gets somewhere.
BEAT_TIMEOUT_S = 1.5
CLOSE_TIMEOUT_S = 5.0
NOTICES_PER_ANSWER_MAX = 5000
TRAVEL_MAX_S = 600.0
FENCE_MAX = 2**62
EPOCH_MAX = 2**62
MS_AGO_MAX = 7 * 24 * 3600 * 1000
# Beyond what one process can do, whatever the machine: such a load is no measurement.
SESSIONS_MAX = 100_000
EGRESS_MAX_BPS = 1_000_000_000_000
CPU_MAX = 1024.0
LAG_MAX_MS = 3_600_000.0
# A node that says it holds less than this part of what it holds by our books is not believed: between
# admission and connection, and between an end and its beat, the two differ by some.
BELIEVED_MIN = 0.5
BELIEVED_SESSIONS_MIN = 20


class Refused(Exception):
    """The beat is not of a node that may serve; `status` is what the node is told."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True, slots=True)
class _Event:
    kind: str
    session_id: UUID
    fence: int
    ms_ago: int
    reason: str


@dataclass(frozen=True, slots=True)
class _Said:
    """Whose word it is, and when it was said, on the database's clock."""

    node_id: UUID
    at: datetime


class Beats:
    """Takes registrations and beats."""

    def __init__(
        self,
        database: Database,
        redis_map: RedisMap,
        trees: Trees | None = None,
        *,
        sessions_per_node: int = SESSIONS_FULL,
    ) -> None:
        """`trees` hears of links that are lost."""
        self._database = database
        self._map = redis_map
        self._trees = trees
        self._sessions_full = sessions_per_node
        # The latest attempt, by node and secret: who does not know it gives nobody's attempt up.
        self._working: dict[tuple[UUID, str], asyncio.Task[BeatAnswer]] = {}
        self._given_up: set[asyncio.Task[BeatAnswer]] = set()

    async def close(self) -> None:
        """End the attempts that still work."""
        tasks = [*self._working.values(), *self._given_up]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_TIMEOUT_S)

    async def register(self, message: Register) -> Registered:
        """Let a node serve; Refused 400 for malformed words, 409 for an id that is not free."""
        node_id = parse_uuid(message.node_id)
        if node_id is None or len(message.secret) < 16 or not message.addresses:
            raise Refused(400, "a node needs a UUID, a secret of 16 characters and an address")
        registered = await self._database.value(
            "node.register",
            node_id,
            message.secret,
            message.internal_url,
            json.dumps(message.addresses),
            message.version,
            LEASE_S,
        )
        if registered is None:
            raise Refused(409, "the node id is taken or was declared dead")
        # Only one process can listen there: what did before is gone, and its sessions need not wait
        # for the end of its lease. Should it live after all, its next beat is refused.
        for earlier in await self._database.rows("node.succeed", message.internal_url, node_id):
            log.warning("node %s has taken the place of node %s", node_id, earlier[0])
        log.info("node %s (%s) serves at %s", node_id, message.version, message.internal_url)
        return Registered(lease_s=LEASE_S)

    async def beat(self, message: Beat, secret: str) -> BeatAnswer:
        """Renew the lease, take the events, answer with what the node must know.

        Refused 400 (a load that cannot be), 401 (unknown or another secret), 410 (declared dead) or
        412 (this attempt or a later one was taken already: a replay, or overtaken on its way).
        """
        node_id = parse_uuid(message.node_id)
        if node_id is None:
            raise Refused(401, "unknown node")
        if not _is_possible(message.load):
            raise Refused(400, f"no node has such a load: {message.load}")
        hold = BeatAnswer(cursor=message.cursor, accepted=False, hold=True)
        task = asyncio.create_task(self._beat(node_id, message, secret), name=f"beat {node_id}")
        # A task of its own: cancelled, a statement takes its time until the database has heard of it.
        key = node_id, secret
        self._give_up(key)
        self._working[key] = task
        task.add_done_callback(lambda done: self._forget(key, done))
        await asyncio.wait([task], timeout=BEAT_TIMEOUT_S)
        if not task.done() or task.cancelled():
            log.warning("node %s holds: the database does not answer", node_id)
            return hold
        try:
            return task.result()
        except (*AWAY, asyncpg.PostgresError, Problem) as error:
            # Whatever the database's trouble is, students need not see it.
            log.warning("node %s holds: the database is away: %r", node_id, error)
            return hold

    def _give_up(self, key: tuple[UUID, str]) -> None:
        earlier = self._working.pop(key, None)
        if earlier is not None:
            self._given_up.add(earlier)
            earlier.cancel()

    def _forget(self, key: tuple[UUID, str], task: asyncio.Task[BeatAnswer]) -> None:
        self._given_up.discard(task)
        if self._working.get(key) is task:
            del self._working[key]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.debug("beat of node %s: %r", key[0], error)

    async def _beat(self, node_id: UUID, message: Beat, secret: str) -> BeatAnswer:
        arrived_at, draining = await self._renew(node_id, message, secret)
        said = _Said(node_id, _sent(message, arrived_at))
        await self._map.remember_load(node_id, busyness(message.load, self._sessions_full))
        events = [event for given in message.events if (event := _checked(given)) is not None]
        revoked: dict[tuple[str, int], Revocation] = {}
        try:
            for start in range(0, len(events), EVENTS_PER_TRANSACTION_MAX):
                part = events[start : start + EVENTS_PER_TRANSACTION_MAX]
                for stale in await self._database.retried(_writer(said, part)):
                    revoked[stale.session_id, stale.fence] = stale
            send_sessions = await self._compare(said, message, revoked)
        except asyncpg.IntegrityConstraintViolationError:
            # The node would send the same again for ever; its digest will show what is lost.
            log.exception("node %s: events broke a constraint and were not written", node_id)
            send_sessions = True
        cursor, ended = await self._notices(node_id, message.cursor, revoked)
        moved: list[MovedClass] = []
        if message.digest is not None:
            # Whoever placed them anew told the node; it may not have heard.
            found = await self._database.rows("node.moved", node_id)
            moved = [MovedClass(str(f["class_id"]), f["epoch"]) for f in found]
        if self._trees is not None and message.links_lost:
            await self._trees.links_lost(node_id, message.links_lost[:LOST_LINKS_PER_BEAT_MAX])
        return BeatAnswer(
            cursor=cursor,
            at=arrived_at.timestamp(),
            revoked=tuple(revoked.values()),
            ended_classes=tuple(ended),
            send_sessions=send_sessions,
            draining=draining,
            moved_classes=tuple(moved),
        )

    async def _renew(self, node_id: UUID, message: Beat, secret: str) -> tuple[datetime, bool]:
        """Return when the beat came and whether the node drains."""
        load = message.load
        renewed = await self._database.row(
            "node.beat",
            node_id,
            secret,
            0.0 if message.leaving else LEASE_S,
            message.sequence,
            load.sessions,
            load.classes,
            load.egress_bps,
            load.cpu,
            load.loop_lag_ms,
            load.native_lag_ms,
            message.draining,
        )
        if renewed is not None:
            return renewed["alive_at"], renewed["draining"]
        known = await self._database.row("node.known", node_id, secret)
        if known is None or not known["is_secret"]:
            raise Refused(401, "unknown node or wrong secret")
        if known["reaped"]:
            raise Refused(410, "this node was declared dead")
        # The world that it describes is over, and nobody's lease is renewed by an old word.
        raise Refused(412, f"beat {message.sequence} came after {known['beat_sequence']}")

    async def _compare(
        self, said: _Said, message: Beat, revoked: dict[tuple[str, int], Revocation]
    ) -> bool:
        """Hold the node's set of sessions against ours; returns whether it must send the whole set."""
        if message.sessions is not None:
            await self._reconcile(said, message.sequence, message.sessions, revoked)
            return False
        if message.digest is None:
            return False
        ours = await self._database.rows("seat.of_node", said.node_id)
        everything = [(str(s["session_id"]), s["fence"]) for s in ours]
        connected = [(str(s["session_id"]), s["fence"]) for s in ours if s["connected"]]
        await self._doubt(said.node_id, message.load, len(connected))
        # Between admission and the first packet only one side may know a session.
        return message.digest not in (digest_of(connected), digest_of(everything))

    async def _doubt(self, node_id: UUID, load: Load, held: int) -> None:
        """Take what a node holds by our books for its load where it says that it is far less."""
        if held < BELIEVED_SESSIONS_MIN or load.sessions >= held * BELIEVED_MIN:
            return
        log.warning("node %s says %d sessions and holds %d", node_id, load.sessions, held)
        await self._database.rows("node.correct_load", node_id, held)
        await self._map.remember_load(
            node_id, busyness(replace(load, sessions=held), self._sessions_full)
        )

    async def _reconcile(
        self,
        said: _Said,
        sequence: int,
        held: tuple[HeldSession, ...],
        revoked: dict[tuple[str, int], Revocation],
    ) -> None:
        theirs: dict[tuple[UUID, int], HeldSession] = {}
        for session in held:
            if (session_id := parse_uuid(session.session_id)) is not None:
                theirs[session_id, session.fence] = session
        found = await self._database.rows("seat.of_node", said.node_id)
        ours = {(s["session_id"], s["fence"]): s["connected"] for s in found}
        events: list[_Event] = []
        for (session_id, fence), session in theirs.items():
            if (session_id, fence) not in ours:
                stale = Revocation(str(session_id), fence, "replaced")
                revoked[stale.session_id, fence] = stale
            elif session.connected and not ours[session_id, fence]:
                events.append(_Event("connected", session_id, fence, 0, ""))
        lost = [
            ending(session_id, "disconnected", fence=fence, estimated=True, node_id=said.node_id)
            for (session_id, fence), connected in ours.items()
            # What is not connected yet may be on its way to the node; `confirm_by` watches it.
            if connected and (session_id, fence) not in theirs
        ]
        if events or lost:
            log.warning(
                "node %s: %d connects, %d ends healed", said.node_id, len(events), len(lost)
            )
        if events:
            await self._database.retried(_writer(said, events))
        for start in range(0, len(lost), EVENTS_PER_TRANSACTION_MAX):
            part = lost[start : start + EVENTS_PER_TRANSACTION_MAX]
            await self._database.retried(_ender(said, sequence, part))

    async def _notices(
        self, node_id: UUID, cursor: int, revoked: dict[tuple[str, int], Revocation]
    ) -> tuple[int, list[EndedClass]]:
        """Add what is to be revoked; returns the new cursor and the classes that have ended."""
        # First the horizon, then the notices: what commits in between is repeated, never skipped.
        horizon: int = await self._database.value("node.horizon")
        if not 0 <= cursor <= horizon:
            cursor = 0  # another database than the one the cursor was made by
        if cursor:
            await self._database.rows("node.forget_notices", node_id, cursor)
        found = await self._database.rows("node.notices", node_id, cursor, NOTICES_PER_ANSWER_MAX)
        ended: list[EndedClass] = []
        for notice in found:
            if notice["class_id"] is not None:
                epoch = EPOCH_MAX if notice["epoch"] is None else notice["epoch"]
                ended.append(EndedClass(str(notice["class_id"]), epoch))
                continue
            session_id, fence = str(notice["session_id"]), notice["fence"]
            revoked[session_id, fence] = Revocation(session_id, fence, notice["reason"])
        if len(found) == NOTICES_PER_ANSWER_MAX:
            horizon = min(horizon, found[-1]["written_by"])
        return horizon, ended


def _sent(message: Beat, arrived_at: datetime) -> datetime:
    """Return when a beat was sent: what it reports is counted back from there.

    It may have waited for long, in the socket of a process that stood still. A clock that does not agree
    with ours is not believed.
    """
    if message.sent_at is None or not 0 < arrived_at.timestamp() - message.sent_at < TRAVEL_MAX_S:
        return arrived_at
    return datetime.fromtimestamp(message.sent_at, UTC)


def _is_possible(load: Load) -> bool:
    return (
        0 <= load.sessions <= SESSIONS_MAX
        and 0 <= load.classes <= SESSIONS_MAX
        and 0 <= load.egress_bps <= EGRESS_MAX_BPS
        and _is_between(load.cpu, CPU_MAX)
        and _is_between(load.loop_lag_ms, LAG_MAX_MS)
        and _is_between(load.native_lag_ms, LAG_MAX_MS)
    )


def _is_between(value: float, most: float) -> bool:
    return math.isfinite(value) and 0 <= value <= most


def _checked(event: SessionEvent) -> _Event | None:
    session_id = parse_uuid(event.session_id)
    if session_id is None or not 0 < event.fence < FENCE_MAX:
        log.warning("a node reported an event without a session: %r", event)
        return None
    ms_ago = min(max(event.ms_ago, 0), MS_AGO_MAX)
    return _Event(event.kind, session_id, event.fence, ms_ago, event.reason or "disconnected")


def _writer(said: _Said, events: list[_Event]) -> Any:
    """Return the work of one transaction: write the events, return sessions that hold no seat."""

    async def work(connection: Connection) -> list[Revocation]:
        await lock_classes_of(connection, [event.session_id for event in events])
        connects = {(e.session_id, e.fence): e for e in events if e.kind == "connected"}
        stale = []
        if connects:
            stale = await rows(
                connection,
                "node.connected",
                [session_id for session_id, _ in connects],
                [fence for _, fence in connects],
                [event.ms_ago for event in connects.values()],
                said.node_id,
                said.at,
            )
        ends = [event for event in events if event.kind == "ended"]
        if ends:
            await end_sessions(connection, [_ending_of(said, event) for event in ends])
        over = {(event.session_id, event.fence) for event in ends}
        return [
            Revocation(str(found["session_id"]), found["fence"], found["reason"])
            for found in stale
            if (found["session_id"], found["fence"]) not in over
        ]

    return work


def _ender(said: _Said, sequence: int, endings: list[Ending]) -> Any:
    """Return the work of ending what a node does not hold, unless it has beaten since."""

    async def work(connection: Connection) -> None:
        # Before the classes, as nothing else does: no transaction waits for a node and holds a class.
        latest = await rows(connection, "node.latest", said.node_id)
        if latest and latest[0]["beat_sequence"] == sequence:
            await end_sessions(connection, endings)

    return work


def _ending_of(said: _Said, event: _Event) -> Ending:
    ended_at = said.at.astimezone(UTC) - timedelta(milliseconds=event.ms_ago)
    return ending(
        event.session_id,
        event.reason,
        fence=event.fence,
        ended_at=ended_at,
        node_id=said.node_id,
    )
