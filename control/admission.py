"""Who gets a seat: the decision alone, and the transaction round it.

One transaction admits a batch: (1) after a commit whose outcome is unknown, sessions that exist are
answered from their rows; (2) the classes are locked in the order of their ids, those that takeovers
leave included, and the accounts are held against deletion; a request whose seat has moved to a class
that is not locked goes into the next round; (3) new statements read the seats and write what was
decided, sorted by person. Locks go class -> account -> seat -> attendance everywhere, so transactions
wait for each other and never in a circle.

The seats are read by a statement that begins after the locks: one that waits for a lock sees older
rows besides the one it waited for, which seated people twice in simpler designs. A seat changes only
under the lock of its class, so what is read of a locked class stays true until the commit.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import asyncpg

from control.database import AWAY, COLLISION, Connection, Database, rows, try_again
from control.ids import uuid7
from control.model import Account, Admission
from control.problem import Problem

log = logging.getLogger(__name__)

# An admitted session must be connected by then: a browser on a bad line needs a few handshake flights
# of 1 s each, and a place must not stay blocked by a closed laptop.
CONFIRM_S = 30.0
ROUNDS_MAX = 6
ATTEMPTS_MAX = 3
ATTEMPT_DELAY_S = 0.1
REOPEN_S = 15 * 60.0


@dataclass(slots=True)
class Request:
    """One wish for a seat. `link_version` None: as the holder of a seat."""

    account: Account
    class_id: UUID
    link_version: int | None
    takeover: bool
    resume_of: UUID | None
    # Made before the commit, so that a retry is the same row.
    session_id: UUID = field(default_factory=uuid7)


@dataclass(frozen=True, slots=True)
class Take:
    """Seat somebody who sits nowhere."""

    request: Request


@dataclass(frozen=True, slots=True)
class Move:
    """A new session in a seat that is held, or the seat moved to another class."""

    request: Request
    session_id: UUID
    continues: UUID | None
    # The node of the seat where it is one in the same class.
    stays_on: UUID | None = None


@dataclass(frozen=True, slots=True)
class Later:
    """Decide again in the next round: more must be locked first."""


Decision = Take | Move | Later | Problem


def decide(
    request: Request,
    target: asyncpg.Record | None,
    seat: asyncpg.Record | None,
    locked: dict[UUID, Any],
    room: int,
) -> Decision:
    """Return what becomes of a request.

    `target` is the locked class, `seat` the person's seat, `locked` the locked classes by id
    and `room` the places that are left in the target.
    """
    if target is None:
        return Problem(404, "link_invalid", "This link leads to no class.")
    by_link = request.link_version is not None
    if by_link and request.link_version != target["link_version"]:
        return Problem(404, "link_invalid", "This link is no longer valid; ask for the new one.")
    if target["teacher_id"] == request.account.account_id:
        return Problem(409, "own_class", "You teach this class; you cannot join it as a student.")
    here = seat is not None and seat["class_id"] == request.class_id
    if not by_link and not here and target["state"] == "live":
        return Problem(404, "not_found", "You have no place in this class; open its link.")
    if target["state"] == "created":
        return Problem(409, "class_not_live", "The class has not started yet.")
    if target["state"] == "ended":
        return Problem(410, "class_ended", "The class has ended.")
    if seat is None:
        return Take(request) if room > 0 else full()
    if here:
        return _renew(request, seat)
    return _leave_other(request, seat, locked, room)


def _renew(request: Request, seat: asyncpg.Record) -> Decision:
    node = seat["node_id"]
    if request.resume_of is None:
        return Move(request, request.session_id, None, node)
    if request.resume_of not in (seat["session_id"], seat["continues"]):
        return Problem(409, "replaced", "You opened this class somewhere else.")
    if seat["in_grace"]:
        # The segment is closed and stays so; the place is kept, the session is a new one.
        return Move(request, request.session_id, seat["session_id"], node)
    return Move(request, seat["session_id"], seat["continues"], node)


def _leave_other(
    request: Request, seat: asyncpg.Record, locked: dict[UUID, Any], room: int
) -> Decision:
    # A place that the sweeper is about to free blocks nobody.
    if seat["is_host"] or not (request.takeover or seat["overdue"]):
        return elsewhere(seat)
    if seat["class_id"] not in locked:
        return Later()
    return Move(request, request.session_id, None) if room > 0 else full()


def full() -> Problem:
    return Problem(409, "class_full", "Every place in this class is taken.")


def elsewhere(seat: asyncpg.Record) -> Problem:
    """Return the refusal of somebody who has this seat in another class, with what names that class."""
    held = {
        "class_id": str(seat["class_id"]),
        "class_title": seat["title"],
        "is_host": seat["is_host"],
    }
    return Problem(
        409, "active_elsewhere", "You are in another live class; leave it first.", extra=held
    )


class Admissions:
    """Admits batches of requests."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def admit(self, requests: list[Request]) -> list[Admission | Exception]:
        """Return an admission or a Problem for each request, committed."""
        outcomes: dict[int, Admission | Exception] = {}
        waiting = dict(enumerate(requests))
        rounds = 0
        while waiting and rounds < ROUNDS_MAX:
            # One request per person and round: two tabs at once are one after the other.
            people: dict[UUID, int] = {}
            for number, request in waiting.items():
                people.setdefault(request.account.account_id, number)
            batch = {number: waiting[number] for number in people.values()}
            decided = await self._attempt(batch)
            outcomes |= decided
            for number in decided:
                del waiting[number]
            # Rounds bound the retries, not the number of tabs somebody opens at once.
            rounds += len(decided) < len(batch)
        return [outcomes.get(number, try_again()) for number in range(len(requests))]

    async def _attempt(self, batch: dict[int, Request]) -> dict[int, Admission | Exception]:
        unknown = False
        for attempt in range(ATTEMPTS_MAX):
            try:
                async with self._database.transaction() as connection:
                    answered = await _answered(connection, batch) if unknown else {}
                    rest = {n: r for n, r in batch.items() if n not in answered}
                    decided = await _round(connection, rest) if rest else {}
                return answered | decided
            except COLLISION as error:
                log.info("admission collided: %s", error)
            except asyncpg.CheckViolationError:
                log.exception("admission broke a constraint; nothing was written")
                raise
            except AWAY as error:
                # The commit may have gone through before the connection broke.
                unknown = True
                log.warning("admission lost the database: %r", error)
            await asyncio.sleep(ATTEMPT_DELAY_S * (attempt + random.random()))
        return dict.fromkeys(batch, try_again())


async def _answered(
    connection: Connection, batch: dict[int, Request]
) -> dict[int, Admission | Exception]:
    """Return the answers to requests that an earlier attempt committed."""
    sessions = {request.session_id: number for number, request in batch.items()}
    known = await rows(connection, "seat.known_sessions", list(sessions))
    if not known:
        return {}
    titles = {
        found["class_id"]: found
        for found in await rows(
            connection, "class.titles", [batch[n].class_id for n in sessions.values()]
        )
    }
    answers: dict[int, Admission | Exception] = {}
    for found in known:
        number = sessions[found["session_id"]]
        if found["fence"] is None:
            answers[number] = try_again()  # admitted and lost its seat again meanwhile
            continue
        target = titles[batch[number].class_id]
        answers[number] = _admission(batch[number], target, found["session_id"], found["fence"])
    return answers


async def _round(
    connection: Connection, batch: dict[int, Request]
) -> dict[int, Admission | Exception]:
    """Lock, decide and write once; what must wait for the next round is left out."""
    people = [request.account.account_id for request in batch.values()]
    targets = {request.class_id for request in batch.values()}
    leaving = await rows(connection, "seat.of", people)
    sources = _sources(batch.values(), leaving)
    locked = {
        found["class_id"]: found
        for found in await rows(connection, "class.lock", list(targets | sources), REOPEN_S)
    }
    active = {found[0] for found in await rows(connection, "seat.lock_accounts", people)}
    seats = {found["user_id"]: found for found in await rows(connection, "seat.read", people)}
    room = {class_id: found["capacity"] - found["used"] for class_id, found in locked.items()}
    outcomes: dict[int, Admission | Exception] = {}
    chosen: dict[int, Take | Move] = {}
    for number, request in batch.items():
        person = request.account.account_id
        if person not in active:
            outcomes[number] = Problem(401, "not_signed_in", "This account cannot be used.")
            continue
        seat, target = seats.get(person), locked.get(request.class_id)
        decision = decide(request, target, seat, locked, room.get(request.class_id, 0))
        if isinstance(decision, Problem):
            outcomes[number] = decision
        elif not isinstance(decision, Later):
            chosen[number] = decision
            if seat is None or seat["class_id"] != request.class_id:
                # A place that is left in the same round is not given away before it is written.
                room[request.class_id] -= 1
    fences = await _write(connection, list(chosen.values()), locked)
    for number, decided in chosen.items():
        request = decided.request
        session = decided.session_id if isinstance(decided, Move) else request.session_id
        stays_on = decided.stays_on if isinstance(decided, Move) else None
        if (fence := fences.get(request.account.account_id)) is not None:
            target = locked[request.class_id]
            outcomes[number] = _admission(request, target, session, fence, stays_on)
    return outcomes


def _sources(batch: Iterable[Request], leaving: list[asyncpg.Record]) -> set[UUID]:
    """Return the classes that people of this batch may leave: locked as well, to be sure of `used`."""
    held = {found["user_id"]: found for found in leaving}
    return {
        seat["class_id"]
        for request in batch
        if (seat := held.get(request.account.account_id)) is not None
        and (request.takeover or seat["overdue"])
    }


async def _write(
    connection: Connection, chosen: list[Take | Move], locked: dict[UUID, Any]
) -> dict[UUID, int]:
    """Write the seats; returns the fences by person, without those who were seated meanwhile."""
    fences: dict[UUID, int] = {}
    taking = [c.request for c in chosen if isinstance(c, Take)]
    if taking:
        taken = await rows(
            connection,
            "seat.take",
            [r.account.account_id for r in taking],
            [r.class_id for r in taking],
            [r.session_id for r in taking],
            [locked[r.class_id]["origin_node"] for r in taking],
            CONFIRM_S,
        )
        fences |= {found["user_id"]: found["fence"] for found in taken}
    moving = [c for c in chosen if isinstance(c, Move)]
    if moving:
        moved = await rows(
            connection,
            "seat.move",
            [c.request.account.account_id for c in moving],
            [c.request.class_id for c in moving],
            [c.session_id for c in moving],
            [locked[c.request.class_id]["origin_node"] for c in moving],
            [c.continues for c in moving],
            CONFIRM_S,
        )
        fences |= {found["user_id"]: found["fence"] for found in moved}
    return fences


def _admission(
    request: Request, target: Any, session_id: UUID, fence: int, stays_on: UUID | None = None
) -> Admission:
    return Admission(
        session_id=session_id,
        fence=fence,
        class_id=request.class_id,
        class_title=target["title"],
        capacity=target["capacity"],
        user_id=request.account.account_id,
        name=request.account.name,
        is_host=False,
        node_id=target["origin_node"],
        epoch=target["placement_epoch"],
        stays_on=stays_on,
    )
