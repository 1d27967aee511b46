"""How classes leave this node, make before break.

    staying --move--> teacher told --teacher has gone over, or TEACHER_FIRST_S--> all told --> empty

A session that is told `moved` goes on as it was, until its person is connected elsewhere: the page
closes it then, and where it does not, the revocation that its new session brings ends it
`LINGER_S` later, or `STAYS_S` its patience (that also ends whoever cannot be told). The teacher is
told first, so that those who follow find a picture there. A node that drains sends its rooms away one
after the other, at a pace that their new nodes can take.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from sfu.live import encode

if TYPE_CHECKING:
    from sfu.room import Room
    from sfu.session import Session

log = logging.getLogger(__name__)

# Longer than a page on a bad line needs to connect: handshake flights of 1 s, and a retry.
STAYS_S = 10.0
# From the admission of the new session until its page shows it.
LINGER_S = 3.0
TEACHER_FIRST_S = 1.5
# Joins that the nodes which take them over serve without anybody noticing.
SESSIONS_PER_S = 200.0
TOLD_PER_TICK_MAX = 50
EPOCH_MAX = 2**62

MOVED = encode({"type": "moved", "stays_ms": round(STAYS_S * 1000)})


class Move:
    """One class on its way to another node: the sessions of placements before `epoch`."""

    def __init__(self, room: Room, epoch: int) -> None:
        self.epoch = epoch
        self._room = room
        self._told: dict[Session, float] = {}  # until when they may stay
        self._began_at_s = time.monotonic()
        self._everybody = False  # is to be told, not the teacher alone
        self._lingering: dict[Session, float] = {}  # until when

    def begin(self) -> None:
        """Tell the teacher, and where there is none all the others."""
        self._tell_some(self._began_at_s)

    def revoked(self, session: Session) -> bool:
        """Note that a session's person has been admitted elsewhere; return whether it may linger."""
        if session not in self._told:
            return False
        now_s = time.monotonic()
        self._lingering.setdefault(session, now_s + LINGER_S)
        if session.publishes:
            self._everybody = True
            self._tell_some(now_s)
        return True

    def tick(self, now_s: float) -> bool:
        """Do what comes with time; return whether everybody has gone."""
        self._tell_some(now_s)
        for session in self._going():
            if now_s >= self._told.get(session, self._began_at_s + STAYS_S):
                session.end("node_drained")
            elif now_s >= self._lingering.get(session, math.inf):
                session.end("replaced")
        return not self._going()

    def _going(self) -> list[Session]:
        return [s for s in self._room.sessions.values() if s.opening.placement < self.epoch]

    def _tell_some(self, now_s: float) -> None:
        going = self._going()
        waited = now_s - self._began_at_s >= TEACHER_FIRST_S
        self._everybody |= waited or not any(session.publishes for session in going)
        # One that is not connected yet, or has no channel yet, is told when it has.
        hearing = [s for s in going if s.hears and s not in self._told]
        hearing.sort(key=lambda session: not session.publishes)
        for session in hearing[:TOLD_PER_TICK_MAX]:
            if session.publishes or self._everybody:
                self._told[session] = now_s + STAYS_S
                session.send(MOVED)


class Moves:
    """The classes that leave, and the node's own wish to be empty."""

    def __init__(self, rooms: dict[str, Room], hurry: Callable[[], None]) -> None:
        self.draining = False
        self.drained = asyncio.Event()
        self._rooms = rooms
        self._hurry = hurry
        self._under_way: dict[str, Move] = {}
        self._left: dict[str, int] = {}  # classes that have gone, and the epoch of that
        self._next_at_s = 0.0

    @property
    def under_way(self) -> bool:
        return bool(self._under_way) or (self.draining and not self.drained.is_set())

    def drain(self) -> None:
        """Begin to send everybody away; `drained` is set when nobody is left."""
        if not self.draining:
            self.draining = True
            log.warning("draining: %d classes are to go elsewhere", len(self._rooms))
            self._hurry()

    def move(self, class_id: str, epoch: int) -> None:
        """Send a class away that has been placed elsewhere under `epoch`."""
        room = self._rooms.get(class_id)
        known = self._under_way.get(class_id)
        if room is None or (known is not None and known.epoch >= epoch):
            return
        if known is not None:
            known.epoch = epoch
            return
        log.info("class %s goes elsewhere, epoch %d", class_id, epoch)
        self._under_way[class_id] = move = Move(room, epoch)
        move.begin()
        self._hurry()

    def takes(self, class_id: str, placement: int) -> bool:
        """Return whether a new session of a class may be opened here."""
        move = self._under_way.get(class_id)
        if move is not None and placement < move.epoch:
            return False
        # Classes that are here stay whole until it is their turn.
        return not self.draining or class_id in self._rooms

    def revoked(self, session: Session) -> bool:
        """Return whether a session that another has replaced elsewhere goes on for a moment."""
        move = self._under_way.get(session.room.class_id)
        return move is not None and move.revoked(session)

    def tick(self, now_s: float) -> None:
        """Do what comes with time; called a few times a second."""
        for class_id, move in list(self._under_way.items()):
            if move.tick(now_s) or class_id not in self._rooms:
                del self._under_way[class_id]
        if not self.draining:
            return
        for class_id, room in self._rooms.items():
            if now_s < self._next_at_s:
                break
            if class_id not in self._under_way:
                self._next_at_s = max(self._next_at_s, now_s - 1) + (
                    len(room.sessions) / SESSIONS_PER_S
                )
                self.move(class_id, EPOCH_MAX)
        if not self._rooms:
            self.drained.set()
