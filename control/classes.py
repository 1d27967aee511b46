"""Classes: created -> live -> ended, with a link, and the host's seat from start to end."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

import asyncpg

from control.admission import CONFIRM_S, REOPEN_S, elsewhere
from control.database import Connection, Database, row, rows, run, try_again
from control.endings import Ending, end_sessions
from control.ids import uuid7
from control.model import Account, Admission, NodeAddress
from control.problem import Problem
from control.tokens import new_link

log = logging.getLogger(__name__)

State = Literal["created", "live", "ended"]
Event = Literal["start", "end", "reopen"]

# A class has one run: it begins once, and only its end can be taken back, for 15 minutes. An event
# that finds the state it leads to changes nothing; any other pair is refused.
TRANSITIONS: dict[tuple[State, Event], State] = {
    ("created", "start"): "live",
    ("live", "end"): "ended",
    ("ended", "reopen"): "live",
}
LEADS_TO: dict[Event, State] = {"start": "live", "end": "ended", "reopen": "live"}
HOST_ROUNDS_MAX = 3


@dataclass(frozen=True, slots=True)
class ClassEnd:
    """A committed end, for the nodes that carried the class; they would hear of it in their beats."""

    class_id: UUID
    epoch: int = 0
    nodes: list[NodeAddress] = field(default_factory=list)


class Classes:
    """What teachers do with classes; Problems as in the contract."""

    def __init__(
        self,
        database: Database,
        changed: Callable[[], None] = lambda: None,
        ended: Callable[[ClassEnd], None] = lambda end: None,
    ) -> None:
        """`changed` is called after a class's state or link has changed, `ended` after its end."""
        self._database = database
        self._changed = changed
        self._ended = ended

    async def create(self, teacher: Account, *, title: str, capacity: int, key: str | None) -> Any:
        """Make a class and return its row; the same `key` again returns the class it made."""
        if teacher.role != "teacher":
            raise Problem(403, "not_teacher", "Only teachers create classes.")
        asked = hashlib.sha256(json.dumps([title, capacity]).encode()).digest()
        class_id = await self._database.value(
            "class.create",
            uuid7(),
            teacher.account_id,
            title,
            capacity,
            new_link(),
            key,
            asked if key is not None else None,
        )
        if class_id is None:
            made = await self._database.row("class.by_creation_key", teacher.account_id, key)
            if made is None:
                raise try_again()
            if made["creation_digest"] != asked:
                raise Problem(
                    422, "invalid_request", "This Idempotency-Key was used for another class."
                )
            class_id = made["class_id"]
        return await self.show(teacher, class_id)

    async def show(self, teacher: Account, class_id: UUID) -> Any:
        """Return the row of an own class; not_found, not_owner."""
        found = await self._database.row("class.show", class_id)
        if found is None:
            raise _not_found()
        _require_owner(teacher, found)
        return found

    async def require_owner(self, teacher: Account, class_id: UUID) -> None:
        """Problem not_found or not_owner where it is not an own class."""
        found = await self._database.row("class.exists", class_id)
        if found is None:
            raise _not_found()
        _require_owner(teacher, found)

    async def own(self, teacher: Account, before: UUID | None, limit: int) -> list[Any]:
        return await self._database.rows("class.own", teacher.account_id, before, limit)

    async def change(
        self, teacher: Account, class_id: UUID, *, title: str | None, capacity: int | None
    ) -> Any:
        """Change title and capacity before the end; capacity_below_used, class_ended."""
        async with self._database.transaction() as connection:
            found = await _locked(connection, teacher, class_id)
            if found["state"] == "ended":
                raise Problem(410, "class_ended", "The class has ended.")
            if capacity is not None and capacity < found["used"]:
                raise Problem(
                    409,
                    "capacity_below_used",
                    f"{found['used']} places are taken; the capacity cannot be lower.",
                    extra={"used": found["used"]},
                )
            await run(connection, "class.change", class_id, title, capacity)
        return await self.show(teacher, class_id)

    async def rotate_link(self, teacher: Account, class_id: UUID) -> Any:
        """Give the class a new link; the old one is dead for every join that is not yet admitted."""
        async with self._database.transaction() as connection:
            await _locked(connection, teacher, class_id)
            await run(connection, "class.rotate_link", class_id, new_link())
        self._changed()
        return await self.show(teacher, class_id)

    async def start(self, teacher: Account, class_id: UUID) -> Any:
        """Let the class begin and take the host's seat; active_elsewhere, class_ended."""
        return await self._take_host(teacher, class_id, "start")

    async def reopen(self, teacher: Account, class_id: UUID) -> Any:
        """Let a class go on whose end is not older than REOPEN_S; class_ended after that."""
        return await self._take_host(teacher, class_id, "reopen")

    async def end(self, teacher: Account, class_id: UUID) -> Any:
        """End the class with every seat and segment in it."""

        async def work(connection: Connection) -> ClassEnd:
            found = await _locked(connection, teacher, class_id)
            if _next(found, "end") is None:
                return ClassEnd(class_id)
            log.info("class %s: live -> ended", class_id)
            return await end_class(connection, class_id)

        self._ended(await self._database.retried(work))
        self._changed()
        return await self.show(teacher, class_id)

    async def _take_host(self, teacher: Account, class_id: UUID, event: Event) -> Any:
        for _ in range(HOST_ROUNDS_MAX):
            seat = await self._database.row("seat.of", [teacher.account_id])
            other = seat["class_id"] if seat is not None else None

            async def work(connection: Connection, other: UUID | None = other) -> bool:
                return await _start(connection, teacher, class_id, event, other)

            if await self._database.retried(work):
                self._changed()
                return await self.show(teacher, class_id)
        raise try_again()

    async def publish(
        self, teacher: Account, class_id: UUID, resume_of: UUID | None = None
    ) -> Admission:
        """Give the host a new publishing session and revoke the one before."""

        async def work(connection: Connection) -> Admission:
            found = await _locked(connection, teacher, class_id)
            if found["state"] == "created":
                raise Problem(409, "class_not_live", "Start the class first.")
            if found["state"] == "ended":
                raise Problem(410, "class_ended", "The class has ended.")
            session_id, node_id = uuid7(), found["origin_node"]
            fence = await row(
                connection,
                "seat.publish",
                teacher.account_id,
                class_id,
                session_id,
                node_id,
                CONFIRM_S,
                resume_of,
            )
            if fence is None and resume_of is not None:
                raise Problem(409, "replaced", "You teach this class from somewhere else.")
            if fence is None:
                raise RuntimeError(f"class {class_id} is live and its teacher has no seat")
            return Admission(
                session_id=session_id,
                fence=fence[0],
                class_id=class_id,
                class_title=found["title"],
                capacity=found["capacity"],
                user_id=teacher.account_id,
                name=teacher.name,
                is_host=True,
                node_id=node_id,
                epoch=found["placement_epoch"],
            )

        return await self._database.retried(work)


async def end_class(connection: Connection, class_id: UUID) -> ClassEnd:
    """End a live class whose row is locked, with every seat and segment in it."""
    found = await rows(connection, "class.end", class_id)
    nodes = [NodeAddress(n["node_id"], n["internal_url"], n["secret"]) for n in found]
    return ClassEnd(class_id, max((n["epoch"] for n in found), default=0), nodes)


async def _start(
    connection: Connection, teacher: Account, class_id: UUID, event: Event, other: UUID | None
) -> bool:
    """Do `start` or `reopen`; false where the teacher's seat moved meanwhile: look again."""
    wanted = [class_id] if other is None else [class_id, other]
    locked = {
        found["class_id"]: found for found in await rows(connection, "class.lock", wanted, REOPEN_S)
    }
    found = _owned(teacher, locked.get(class_id))
    if _next(found, event) is None:
        return True
    await rows(connection, "seat.lock_accounts", [teacher.account_id])
    seat = await row(connection, "seat.read", [teacher.account_id])
    if seat is not None:
        if seat["class_id"] not in locked:
            return False
        if not seat["overdue"]:
            raise elsewhere(seat)
        # What the sweeper is about to free holds up nobody.
        free = Ending(seat["session_id"], "never_connected", estimated=True, overdue=True)
        await end_sessions(connection, [free])
    if await row(connection, "seat.take_host", teacher.account_id, class_id) is None:
        raise asyncpg.SerializationError("the teacher took a seat elsewhere meanwhile")
    await run(connection, f"class.{event}", class_id)
    log.info("class %s: %s -> live", class_id, found["state"])
    return True


async def _locked(connection: Connection, teacher: Account, class_id: UUID) -> Any:
    return _owned(teacher, await row(connection, "class.lock", [class_id], REOPEN_S))


def _owned(teacher: Account, found: Any) -> Any:
    if found is None:
        raise _not_found()
    _require_owner(teacher, found)
    return found


def _require_owner(teacher: Account, found: Any) -> None:
    if found["teacher_id"] != teacher.account_id:
        raise Problem(403, "not_owner", "This is another teacher's class.")


def _not_found() -> Problem:
    return Problem(404, "not_found", "There is no such class.")


def _next(found: Any, event: Event) -> State | None:
    """Return the state that the event leads to, None where it is reached already."""
    state: State = found["state"]
    if state == LEADS_TO[event]:
        return None
    following = TRANSITIONS.get((state, event))
    if following is None:
        if state == "ended":
            raise Problem(410, "class_ended", "The class has ended.")
        raise Problem(409, "class_not_live", "The class has not started yet.")
    if event == "reopen" and not found["may_reopen"]:
        raise Problem(410, "class_ended", "The class ended too long ago to be reopened.")
    return following
