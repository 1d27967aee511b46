"""How sessions end: one transaction closes segments and frees seats or leaves them in grace.

Whoever sees an end (a leave button, a beat, the sweeper, the reaper) says so as an `Ending`; what an
end does to segment, seat, capacity and node is written once, in `seat.end`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from control.database import Connection, Database, rows

# A reload takes a few seconds; a closed tab must not block its owner for longer.
PAGEHIDE_GRACE_S = 15.0
# A node's death, a tunnel, a change of network: time to come back without losing the place.
SILENCE_GRACE_S = 30.0


@dataclass(frozen=True, slots=True)
class Ending:
    """One session's end. None stands for: any fence, any account, now, no grace, on any node."""

    session_id: UUID
    reason: str  # of `wire.beat.EndReason`
    fence: int | None = None
    user_id: UUID | None = None
    ended_at: datetime | None = None
    estimated: bool = False
    grace_s: float | None = None
    # Keep the place also for somebody who was never connected to the class.
    keep_fresh: bool = True
    # Only if the seat is past its time when its class is locked.
    overdue: bool = False
    # Who says so; a session that was opened anew on another node is not this one's to end.
    node_id: UUID | None = None


def ending(session_id: UUID, reason: str, **details: object) -> Ending:
    """Return the ending that `reason` makes by itself: with which grace the seat is kept."""
    grace_s, keep_fresh = _GRACE.get(reason, (SILENCE_GRACE_S, True))
    return Ending(session_id, reason, grace_s=grace_s, keep_fresh=keep_fresh, **details)  # type: ignore[arg-type]


_GRACE: dict[str, tuple[float | None, bool]] = {
    "left": (None, False),
    "pagehide": (PAGEHIDE_GRACE_S, True),
    # A session that never came to be takes no place from others; a regular may try again.
    "handshake_failed": (PAGEHIDE_GRACE_S, False),
    "never_connected": (PAGEHIDE_GRACE_S, False),
}


class Endings:
    """Applies batches of endings."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def apply(self, endings: list[Ending]) -> list[bool | Exception]:
        """End the sessions, committed; tells for each whether it held a seat. Idempotent."""

        async def work(connection: Connection) -> set[UUID]:
            return await end_sessions(connection, endings)

        held = await self._database.retried(work)
        return [end.session_id in held for end in endings]


async def end_sessions(connection: Connection, endings: list[Ending]) -> set[UUID]:
    """End sessions within a transaction that holds no locks yet; returns those that held seats."""
    # One row may be updated once per statement: the first word about a session and fence counts.
    once = {(end.session_id, end.fence): end for end in reversed(endings)}
    by_session = {end.session_id: end for end in once.values()}
    later = [end for end in once.values() if by_session[end.session_id] is not end]
    await lock_classes_of(connection, [end.session_id for end in endings])
    held: set[UUID] = set()
    for part in (list(by_session.values()), *([end] for end in later)):
        held |= await _end(connection, part)
    return held


async def lock_classes_of(connection: Connection, sessions: list[UUID]) -> None:
    """Lock every class in which one of these sessions is or was."""
    classes = await rows(connection, "seat.classes_of_sessions", sessions)
    await rows(connection, "class.lock", [found[0] for found in classes], 0.0)


async def _end(connection: Connection, endings: list[Ending]) -> set[UUID]:
    ended = await rows(
        connection,
        "seat.end",
        [end.session_id for end in endings],
        [end.fence for end in endings],
        [end.user_id for end in endings],
        [end.ended_at for end in endings],
        [end.reason for end in endings],
        [end.estimated for end in endings],
        [end.grace_s for end in endings],
        [end.keep_fresh for end in endings],
        [end.overdue for end in endings],
        [end.node_id for end in endings],
    )
    return {found[0] for found in ended}
