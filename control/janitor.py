"""What must happen although nobody asks: expired seats are swept, dead nodes reaped, rows pruned.

One process at a time does it, whoever holds an advisory lock on a connection of its own. It works
only after that connection has been up for one lease: after a restart of the database, or of every
`web`, nodes and sessions get the time to say that they live. A database or a janitor that stood still
is the same: nobody could beat meanwhile, so the lease is waited for anew. What is due is judged by
the database's time as of a question that was answered at once, never by the time at which a statement
happens to run: the database may stand still between the two.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from control.classes import ClassEnd, end_class
from control.database import AWAY, COMMAND_TIMEOUT_S, SETTINGS, Connection, Database, rows, run
from control.endings import Ending, end_sessions, ending
from control.metrics import CLASSES_DESERTED, NODES_REAPED, SEATS_SWEPT, SWEEPS
from control.problem import Problem
from control.queries import QUERIES
from wire.beat import LEASE_S

log = logging.getLogger(__name__)

JANITOR_LOCK = 0x4C45_4354_0002
SWEEP_INTERVAL_S = 1.0
PRUNE_INTERVAL_S = 600.0
RECONNECT_S = 1.0
STALL_S = LEASE_S / 3
# A janitor that was stopped keeps its connection, and would keep the others from the work.
LOCK_IDLE_MAX_S = LEASE_S
ENDS_PER_TRANSACTION_MAX = 500
# A sweep that finds more goes on in the next interval.
ENDS_PER_SWEEP_MAX = 20_000
NODES_KEPT_S = 7 * 24 * 3600.0
PRUNED_MAX = 1000


class Janitor:
    """One endless task; `patience_s` is how long the connection must be up first."""

    def __init__(
        self,
        database: Database,
        *,
        idle_s: float,
        host_absence_max_s: float,
        patience_s: float = LEASE_S,
        ended: Callable[[ClassEnd], None] = lambda end: None,
    ) -> None:
        self._database = database
        self._ended = ended
        self._host_absence_max_s = host_absence_max_s
        self._idle_s = idle_s
        self._patience_s = patience_s
        self._prune_at = 0.0

    async def run(self) -> None:
        """Work until cancelled; an absent database only pauses it."""
        while True:
            try:
                await self._connected()
            except AWAY as error:
                log.warning("the janitor lost the database: %r", error)
            except (asyncpg.PostgresError, Problem):
                log.exception("the janitor's statement failed; it goes on")
            await asyncio.sleep(RECONNECT_S)

    async def _connected(self) -> None:
        settings: Any = SETTINGS | {
            "application_name": "lectern janitor",
            "idle_session_timeout": str(round(LOCK_IDLE_MAX_S * 1000)),
        }
        connection = await asyncpg.connect(
            self._database.url, command_timeout=COMMAND_TIMEOUT_S, server_settings=settings
        )
        try:
            up_since = answered_at = time.monotonic()
            mine = False
            while True:
                # Also proves that the connection, and with it the lock, is still there.
                if not mine:
                    mine = await connection.fetchval(QUERIES["janitor.lock"], JANITOR_LOCK)
                moment = await connection.fetchval(QUERIES["node.moment"])
                now = time.monotonic()
                if now - answered_at > STALL_S:
                    log.warning("stood still for %.1f s; waiting for the nodes", now - answered_at)
                    up_since = now
                answered_at = now
                if mine and now - up_since >= self._patience_s:
                    await self.work(moment)
                await asyncio.sleep(SWEEP_INTERVAL_S)
        finally:
            connection.terminate()

    async def work(self, moment: datetime) -> None:
        """Do everything that was due at `moment` of the database's clock, once."""
        await self.sweep(moment)
        await self.reap(moment)
        await self.end_deserted()
        if time.monotonic() >= self._prune_at:
            self._prune_at = time.monotonic() + PRUNE_INTERVAL_S
            await self.prune()

    async def sweep(self, moment: datetime) -> int:
        """End what never connected and free what is past its grace; returns how many seats."""
        async with self._database.transaction() as connection:
            await run(connection, "janitor.read_whole_tables")
            found = await rows(connection, "seat.overdue", ENDS_PER_SWEEP_MAX, moment)
        endings = [_overdue(seat) for seat in found]
        freed = await self._end(endings)
        SWEEPS.inc()
        SEATS_SWEPT.inc(freed)
        if freed:
            log.info("swept %d seats past their time", freed)
        return freed

    async def reap(self, moment: datetime) -> int:
        """Close what dead nodes held at their last known time; returns how many nodes died."""
        dead = await self._database.rows("node.reap", moment)
        NODES_REAPED.inc(len(dead))
        for node in dead:
            log.warning("node %s is dead: not heard of since %s", node[0], node[1])
        for node in await self._database.rows("node.unsettled"):
            held = await self._database.rows("node.held", node["node_id"], ENDS_PER_SWEEP_MAX)
            ends = [
                ending(
                    seat["session_id"],
                    "node_lost",
                    fence=seat["fence"],
                    ended_at=node["alive_at"],
                    estimated=True,
                    node_id=node["node_id"],
                )
                for seat in held
            ]
            closed = await self._end(ends)
            log.warning("node %s: %d sessions closed, seats in grace", node["node_id"], closed)
            if len(held) < ENDS_PER_SWEEP_MAX:
                await self._database.rows("node.drop_notices", node["node_id"])
                await self._database.rows("node.settle", node["node_id"])
        return len(dead)

    async def end_deserted(self) -> int:
        """End classes whose teacher has published nothing for too long; returns how many."""
        found = await self._database.rows("class.deserted", self._host_absence_max_s)
        ended = 0
        for deserted in found:
            class_id = deserted["class_id"]

            async def work(connection: Connection, class_id: UUID = class_id) -> ClassEnd | None:
                await rows(connection, "class.lock", [class_id], 0.0)
                # Again under the lock: the teacher may be back.
                if not await rows(
                    connection, "class.is_deserted", class_id, self._host_absence_max_s
                ):
                    return None
                return await end_class(connection, class_id)

            if (end := await self._database.retried(work)) is not None:
                self._ended(end)
                ended += 1
                CLASSES_DESERTED.inc()
                absence_s = self._host_absence_max_s
                log.warning("class %s: live -> ended, no teacher for %.0f s", class_id, absence_s)
        return ended

    async def prune(self) -> None:
        """Delete what is of no use any more, a bounded number at a time."""
        await self._database.rows("node.prune", NODES_KEPT_S, PRUNED_MAX)
        await self._database.rows("account.prune_sessions", self._idle_s, PRUNED_MAX)

    async def _end(self, endings: list[Ending]) -> int:
        held = 0
        for start in range(0, len(endings), ENDS_PER_TRANSACTION_MAX):
            part = endings[start : start + ENDS_PER_TRANSACTION_MAX]

            async def work(connection: Connection, part: list[Ending] = part) -> int:
                return len(await end_sessions(connection, part))

            held += await self._database.retried(work)
        return held


def _overdue(seat: Any) -> Ending:
    if seat["in_grace"] or not seat["was_connected"]:
        # In grace the segment has its end already; this one only frees the seat.
        reason, ended_at, estimated = "never_connected", None, seat["in_grace"]
    else:
        # A resumed session whose new incarnation never came: the old one's end was the end.
        reason, ended_at, estimated = "disconnected", seat["silent_since"], True
    return Ending(
        seat["session_id"],
        reason,
        fence=seat["fence"],
        ended_at=ended_at,
        estimated=estimated,
        grace_s=None,
        overdue=True,
    )
