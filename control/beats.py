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
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from control.database import AWAY, Connection, Database, rows
from control.endings import Ending, end_sessions, ending, lock_classes_of
from control.ids import parse_uuid
from control.placement import busyness
from control.problem import Problem
from control.redis_map import RedisMap
from wire.beat import (
    LEASE_S,
    Beat,
    BeatAnswer,
    HeldSession,
    Register,
    Registered,
    Revocation,
    SessionEvent,
    digest_of,
)

log = logging.getLogger(__name__)

# One transaction's share of a beat: its classes stay locked meanwhile.
EVENTS_PER_TRANSACTION_MAX = 500
# Well within FENCE_S, so that a node hears `hold` before it takes silence for its own death.
BEAT_TIMEOUT_S = 4.0
NOTICES_PER_ANSWER_MAX = 5000
FENCE_MAX = 2**62
MS_AGO_MAX = 7 * 24 * 3600 * 1000


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


class Beats:
    """Takes registrations and beats."""

    def __init__(self, database: Database, redis_map: RedisMap) -> None:
        self._database = database
        self._map = redis_map

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

        Refused 401 (unknown or another secret) or 410 (declared dead).
        """
        node_id = parse_uuid(message.node_id)
        if node_id is None:
            raise Refused(401, "unknown node")
        try:
            async with asyncio.timeout(BEAT_TIMEOUT_S):
                return await self._beat(node_id, message, secret)
        except (*AWAY, Problem) as error:
            log.warning("node %s holds: the database is away: %r", node_id, error)
            return BeatAnswer(cursor=message.cursor, accepted=False, hold=True)

    async def _beat(self, node_id: UUID, message: Beat, secret: str) -> BeatAnswer:
        latest = await self._renew(node_id, message, secret)
        if latest > message.sequence:
            # An attempt that its sender gave up: the world it describes is over.
            return BeatAnswer(cursor=message.cursor, accepted=False)
        await self._map.remember_load(
            node_id, busyness(message.load.sessions, message.load.classes)
        )
        events = [event for given in message.events if (event := _checked(given)) is not None]
        revoked: dict[tuple[str, int], Revocation] = {}
        try:
            for start in range(0, len(events), EVENTS_PER_TRANSACTION_MAX):
                part = events[start : start + EVENTS_PER_TRANSACTION_MAX]
                for stale in await self._database.retried(_writer(part)):
                    revoked[stale.session_id, stale.fence] = stale
            send_sessions = await self._compare(node_id, message, revoked)
        except asyncpg.IntegrityConstraintViolationError:
            # The node would send the same again for ever; its digest will show what is lost.
            log.exception("node %s: events broke a constraint and were not written", node_id)
            send_sessions = True
        cursor, ended = await self._notices(node_id, message.cursor, revoked)
        return BeatAnswer(
            cursor=cursor,
            revoked=tuple(revoked.values()),
            ended_classes=tuple(ended),
            send_sessions=send_sessions,
        )

    async def _renew(self, node_id: UUID, message: Beat, secret: str) -> int:
        load = message.load
        renewed = await self._database.row(
            "node.beat",
            node_id,
            secret,
            LEASE_S,
            message.sequence,
            load.sessions,
            load.classes,
            load.egress_bps,
            load.cpu,
            load.loop_lag_ms,
        )
        if renewed is not None:
            latest: int = renewed["beat_sequence"]
            return latest
        known = await self._database.row("node.known", node_id, secret)
        if known is not None and known["is_secret"]:
            raise Refused(410, "this node was declared dead")
        raise Refused(401, "unknown node or wrong secret")

    async def _compare(
        self, node_id: UUID, message: Beat, revoked: dict[tuple[str, int], Revocation]
    ) -> bool:
        """Hold the node's set of sessions against ours; returns whether it must send the whole set."""
        if message.sessions is not None:
            await self._reconcile(node_id, message.sessions, revoked)
            return False
        if message.digest is None:
            return False
        ours = await self._database.rows("seat.of_node", node_id)
        everything = [(str(s["session_id"]), s["fence"]) for s in ours]
        connected = [(str(s["session_id"]), s["fence"]) for s in ours if s["connected"]]
        # Between admission and the first packet only one side may know a session.
        return message.digest not in (digest_of(connected), digest_of(everything))

    async def _reconcile(
        self,
        node_id: UUID,
        held: tuple[HeldSession, ...],
        revoked: dict[tuple[str, int], Revocation],
    ) -> None:
        theirs: dict[tuple[UUID, int], HeldSession] = {}
        for session in held:
            if (session_id := parse_uuid(session.session_id)) is not None:
                theirs[session_id, session.fence] = session
        found = await self._database.rows("seat.of_node", node_id)
        ours = {(s["session_id"], s["fence"]): s["connected"] for s in found}
        events: list[_Event] = []
        for (session_id, fence), session in theirs.items():
            if (session_id, fence) not in ours:
                stale = Revocation(str(session_id), fence, "replaced")
                revoked[stale.session_id, fence] = stale
            elif session.connected and not ours[session_id, fence]:
                events.append(_Event("connected", session_id, fence, 0, ""))
        lost = [
            ending(session_id, "disconnected", fence=fence, estimated=True)
            for (session_id, fence), connected in ours.items()
            # What is not connected yet may be on its way to the node; `confirm_by` watches it.
            if connected and (session_id, fence) not in theirs
        ]
        if events or lost:
            log.warning("node %s: %d connects, %d ends healed", node_id, len(events), len(lost))
        if events:
            await self._database.retried(_writer(events))
        for start in range(0, len(lost), EVENTS_PER_TRANSACTION_MAX):
            await self._database.retried(_ender(lost[start : start + EVENTS_PER_TRANSACTION_MAX]))

    async def _notices(
        self, node_id: UUID, cursor: int, revoked: dict[tuple[str, int], Revocation]
    ) -> tuple[int, list[str]]:
        """Add what is to be revoked; returns the new cursor and the classes that have ended."""
        # First the horizon, then the notices: what commits in between is repeated, never skipped.
        horizon: int = await self._database.value("node.horizon")
        if not 0 <= cursor <= horizon:
            cursor = 0  # another database than the one the cursor was made by
        if cursor:
            await self._database.rows("node.forget_notices", node_id, cursor)
        found = await self._database.rows("node.notices", node_id, cursor, NOTICES_PER_ANSWER_MAX)
        ended: list[str] = []
        for notice in found:
            if notice["class_id"] is not None:
                ended.append(str(notice["class_id"]))
                continue
            session_id, fence = str(notice["session_id"]), notice["fence"]
            revoked[session_id, fence] = Revocation(session_id, fence, notice["reason"])
        if len(found) == NOTICES_PER_ANSWER_MAX:
            horizon = min(horizon, found[-1]["written_by"])
        return horizon, ended


def _checked(event: SessionEvent) -> _Event | None:
    session_id = parse_uuid(event.session_id)
    if session_id is None or not 0 < event.fence < FENCE_MAX:
        log.warning("a node reported an event without a session: %r", event)
        return None
    ms_ago = min(max(event.ms_ago, 0), MS_AGO_MAX)
    return _Event(event.kind, session_id, event.fence, ms_ago, event.reason or "disconnected")


def _writer(events: list[_Event]) -> Any:
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
            )
        ends = [event for event in events if event.kind == "ended"]
        if ends:
            moment: datetime = (await rows(connection, "node.moment"))[0][0]
            await end_sessions(connection, [_ending_of(event, moment) for event in ends])
        over = {(event.session_id, event.fence) for event in ends}
        return [
            Revocation(str(found["session_id"]), found["fence"], found["reason"])
            for found in stale
            if (found["session_id"], found["fence"]) not in over
        ]

    return work


def _ender(endings: list[Ending]) -> Any:
    async def work(connection: Connection) -> None:
        await end_sessions(connection, endings)

    return work


def _ending_of(event: _Event, moment: datetime) -> Ending:
    ended_at = moment.astimezone(UTC) - timedelta(milliseconds=event.ms_ago)
    return ending(event.session_id, event.reason, fence=event.fence, ended_at=ended_at)
