"""What must happen although nobody asks: expired seats are swept, dead nodes reaped, rows pruned.

One process at a time does it, whoever holds an advisory lock on a connection of its own. It works
only after that connection has been up for one lease: after a restart of the database, or of every
`web`, nodes and sessions get the time to say that they live.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any
from uuid import UUID

import asyncpg

from control.database import AWAY, COMMAND_TIMEOUT_S, SETTINGS, Connection, Database, rows
from control.endings import Ending, end_sessions, ending
from control.problem import Problem
from control.queries import QUERIES
from wire.beat import LEASE_S

log = logging.getLogger(__name__)

JANITOR_LOCK = 0x4C45_4354_0002
SWEEP_INTERVAL_S = 1.0
PRUNE_INTERVAL_S = 600.0
RECONNECT_S = 1.0
STALL_S = LEASE_S / 3
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
    ) -> None:
        self._database = database
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
        settings: Any = SETTINGS | {"application_name": "lectern janitor"}
        connection = await asyncpg.connect(
            self._database.url, command_timeout=COMMAND_TIMEOUT_S, server_settings=settings
        )
        try:
            up_since = woke_at = time.monotonic()
            mine = False
            while True:
                now = time.monotonic()
                if now - woke_at > STALL_S:
                    # The database or this process stood still: nodes could not say that they live.
                    up_since = now
                woke_at = now
                # Also proves that the connection, and with it the lock, is still there.
                if not mine:
                    mine = await connection.fetchval(QUERIES["janitor.lock"], JANITOR_LOCK)
                else:
                    await connection.fetchval(QUERIES["node.moment"])
                if mine and time.monotonic() - up_since >= self._patience_s:
                    await self.work()
                await asyncio.sleep(SWEEP_INTERVAL_S)
        finally:
            connection.terminate()

    async def work(self) -> None:
        """Do everything that is due, once."""
        await self.sweep()
        await self.reap()
        await self.end_deserted()
        if time.monotonic() >= self._prune_at:
            self._prune_at = time.monotonic() + PRUNE_INTERVAL_S
            await self.prune()

    async def sweep(self) -> int:
        """End what never connected and free what is past its grace; returns how many seats."""
        found = await self._database.rows("seat.overdue", ENDS_PER_SWEEP_MAX)
        endings = [_overdue(seat) for seat in found]
        freed = await self._end(endings)
        if freed:
            log.info("swept %d seats past their time", freed)
        return freed

    async def reap(self) -> int:
        """Close what dead nodes held at their last known time; returns how many nodes died."""
        dead = await self._database.rows("node.reap")
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

            async def work(connection: Connection, class_id: UUID = class_id) -> bool:
                await rows(connection, "class.lock", [class_id], 0.0)
                # Again under the lock: the teacher may be back.
                if not await rows(
                    connection, "class.is_deserted", class_id, self._host_absence_max_s
                ):
                    return False
                await rows(connection, "class.end", class_id)
                return True

            if await self._database.retried(work):
                ended += 1
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
