"""A riot in one web process: many tasks that join, leave, reload and teach at random, and keep a ledger."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from benchmarks.admission.invariants import QUERIES, Violations, violations
from benchmarks.admission.processes import Tell, Work
from control import Account, Admission, Problem
from control.beats import Beats, Refused
from control.classes import Classes
from control.database import AWAY, Database
from control.ids import uuid7
from control.janitor import Janitor
from control.placement import Placement
from control.queries import QUERIES as CONTROL_QUERIES
from control.redis_map import RedisMap
from control.seats import Seats
from wire.beat import Beat, Load, Register, SessionEvent

# What a client may be told in a riot; anything else is an error of ours.
EXPECTED = frozenset({
    "class_full", "active_elsewhere", "class_ended", "class_not_live", "link_invalid", "not_found",
    "replaced", "try_again", "capacity_below_used", "no_capacity", "own_class",
})  # fmt: skip
# Acknowledgements are held against the database in parts, while the riot goes on.
LEDGER_PART = 1000
PROGRESS_ATTEMPTS = 500
CLASSES_AT_ONCE = 5
KNOWN_MAX = 500
EVENTS_PER_BEAT = 40
# How many of the admitted get as far as a node.
BOUND_SHARE = 0.2
DEAD_LINKS_MAX = 50


@dataclass(frozen=True, slots=True)
class Riot:
    """One process's share: everybody races for the same classes in every process."""

    seed: int
    attempts: int
    rioters: int
    people: list[UUID]
    # Class -> its teacher; teachers are among those who join.
    teachers: dict[UUID, UUID]
    capacity_max: int


@dataclass(slots=True)
class Outcome:
    """What one process did and was told, and what did not agree."""

    attempts: int = 0
    admitted: int = 0
    left: int = 0
    done: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    violations: Violations = field(default_factory=Counter)


class Ledger:
    """What clients were told, held against the rows; a part at a time, so that it stays small."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._admitted: list[Admission] = []
        self._left: list[UUID] = []
        self.violations: Violations = Counter()

    async def admitted(self, admission: Admission) -> None:
        self._admitted.append(admission)
        if len(self._admitted) >= LEDGER_PART:
            await self.settle()

    async def left(self, session_id: UUID) -> None:
        self._left.append(session_id)
        if len(self._left) >= LEDGER_PART:
            await self.settle()

    async def settle(self) -> None:
        """Hold everything that was told since the last time against the database."""
        told, self._admitted = self._admitted, []
        left, self._left = self._left, []
        try:
            async with self._database.pool.acquire() as connection:
                broken = await violations(
                    connection,
                    "invariants.admitted",
                    [a.session_id for a in told],
                    [a.user_id for a in told],
                    [a.class_id for a in told],
                    [a.fence for a in told],
                )
                broken += await violations(connection, "invariants.left", left)
        except AWAY:
            # Nothing that was told goes unchecked: it waits for the next time.
            self._admitted += told
            self._left += left
            raise
        self.violations += broken


@asynccontextmanager
async def opened(database_url: str, redis_url: str) -> AsyncIterator[Work]:
    """Open what a web process has; its jobs are Riots, their results Outcomes."""
    database = await Database.open(database_url)
    redis_map = RedisMap(redis_url)
    seats = Seats(database)
    seats.start()

    async def work(riot: Riot, tell: Tell) -> Outcome:
        return await _Rioters(riot, tell, database, redis_map, seats).run()

    try:
        yield work
    finally:
        await seats.close()
        await redis_map.close()
        await database.close()


class _Rioters:
    def __init__(
        self, riot: Riot, tell: Tell, database: Database, redis_map: RedisMap, seats: Seats
    ) -> None:
        self._riot = riot
        self._tell = tell
        self._dice = random.Random(riot.seed)
        self._database = database
        self._seats = seats
        self._classes = Classes(database)
        self._placement = Placement(database, redis_map)
        self._beats = Beats(database, redis_map)
        self._janitor = Janitor(database, idle_s=3600, host_absence_max_s=3600)
        self._ledger = Ledger(database)
        self._outcome = Outcome()
        self._people = [Account(person, "person", "teacher", False) for person in riot.people]
        self._class_ids = list(riot.teachers)
        self._links: dict[UUID, str] = {}
        self._dead_links: list[str] = []
        self._known: list[Admission] = []
        self._node = (uuid7(), secrets.token_urlsafe(24))
        self._beat_number = 0
        self._budget = riot.attempts

    async def run(self) -> Outcome:
        await self._look_up_links()
        await self._boot()
        async with asyncio.TaskGroup() as group:
            for _ in range(self._riot.rioters):
                group.create_task(self._rioter())
        await self._placement.close()
        await self._ledger.settle()
        self._outcome.violations += self._ledger.violations
        return self._outcome

    async def _rioter(self) -> None:
        actions: dict[Callable[[], Awaitable[None]], int] = {
            self._join: 500, self._join_many: 10, self._join_dead_link: 10, self._leave: 200,
            self._reload: 150, self._report: 20, self._rotate: 8, self._start: 10, self._end: 5,
            self._reopen: 20, self._resize: 8, self._age_and_sweep: 2, self._reboot: 1,
        }  # fmt: skip
        while self._budget > 0:
            (action,) = self._dice.choices(list(actions), list(actions.values()))
            self._spend(1)
            try:
                await action()
            except Problem as problem:
                self._refuse(problem)
            except AWAY as error:
                # The API says try_again: whether it was done, nobody was told, so no ledger has it.
                self._outcome.refused[f"away: {type(error).__name__}"] += 1
            self._outcome.done[action.__name__.lstrip("_")] += 1

    def _spend(self, attempts: int) -> None:
        self._budget -= attempts
        before = self._outcome.attempts
        self._outcome.attempts += attempts
        if before // PROGRESS_ATTEMPTS != self._outcome.attempts // PROGRESS_ATTEMPTS:
            self._tell(self._outcome.attempts)

    def _refuse(self, problem: Problem) -> None:
        self._outcome.refused[problem.code] += 1
        if problem.code not in EXPECTED:
            self._outcome.violations[f"an answer that no client may get: {problem.code}"] += 1

    async def _join(self) -> None:
        await self._admit(self._dice.choice(self._people), self._dice.choice(self._class_ids))

    async def _admit(
        self, person: Account, class_id: UUID, by_link: bool = True, resume_of: UUID | None = None
    ) -> None:
        try:
            admission = await self._seats.admit(
                person,
                link_token=self._links[class_id] if by_link else None,
                class_id=None if by_link else class_id,
                takeover=self._dice.random() < 0.3,
                resume_of=resume_of,
            )
        except Problem as problem:
            if problem.code == "link_invalid" and self._dice.random() < 0.5:
                await self._look_up_links()
            raise
        self._outcome.admitted += 1
        await self._ledger.admitted(admission)
        self._remember(admission)
        if self._dice.random() < BOUND_SHARE:
            place = await self._placement.place(class_id, frozenset())
            await self._seats.bind(admission, place.node_id)

    async def _join_many(self) -> None:
        """One person opens several classes at once."""
        person = self._dice.choice(self._people)
        classes = self._dice.sample(self._class_ids, min(CLASSES_AT_ONCE, len(self._class_ids)))
        self._spend(len(classes) - 1)
        attempts = [self._admit(person, class_id) for class_id in classes]
        for result in await asyncio.gather(*attempts, return_exceptions=True):
            if isinstance(result, Problem):
                self._refuse(result)
            elif result is not None:
                raise result

    async def _join_dead_link(self) -> None:
        """A link that was rotated before this began lets nobody in, ever."""
        if not self._dead_links:
            return
        person, link = self._dice.choice(self._people), self._dice.choice(self._dead_links)
        await self._seats.admit(
            person, link_token=link, class_id=None, takeover=True, resume_of=None
        )
        self._outcome.violations["somebody came in by a dead link"] += 1

    async def _leave(self) -> None:
        if (admission := self._somebody()) is not None:
            await self._leave_as(admission, self._dice.choice(["left", "left", "pagehide"]))

    async def _leave_as(self, admission: Admission, reason: str) -> None:
        await self._seats.leave(
            _account(admission), admission.session_id, reason, admission.class_id
        )
        self._outcome.left += 1
        await self._ledger.left(admission.session_id)

    async def _reload(self) -> None:
        """A tab goes and comes back, by its seat, its session or its link; sometimes before it has gone."""
        if (admission := self._somebody()) is None:
            return
        by_link = self._dice.random() < 0.5
        resume_of = admission.session_id if self._dice.random() < 0.5 else None
        came_back = _account(admission), admission.class_id, by_link, resume_of
        if self._dice.random() < 0.3:
            leaving = self._leave_as(admission, "pagehide")
            back = self._admit(*came_back)
            for result in await asyncio.gather(leaving, back, return_exceptions=True):
                if isinstance(result, BaseException):
                    raise result
            return
        await self._leave_as(admission, "pagehide")
        await self._admit(*came_back)

    async def _report(self) -> None:
        """The node says of some sessions that they are connected, or that they are over."""
        events = []
        for admission in filter(None, [self._somebody() for _ in range(EVENTS_PER_BEAT)]):
            kind: Any = self._dice.choice(["connected", "connected", "connected", "ended"])
            reason: Any = self._dice.choice(["disconnected", "left", "handshake_failed"])
            events.append(
                SessionEvent(
                    kind, str(admission.session_id), admission.fence, self._dice.randrange(50),
                    reason if kind == "ended" else None,
                )
            )  # fmt: skip
        self._beat_number += 1
        node_id, secret = self._node
        load = Load(0, 0, 0, 0.0, 0.0)
        beat = Beat(str(node_id), self._beat_number, 0, events=tuple(events), load=load)
        try:
            await self._beats.beat(beat, secret)
        except Refused:  # its lease ended before this riot came to its next beat
            self._outcome.refused["declared dead"] += 1
            await self._boot()

    async def _rotate(self) -> None:
        class_id, teacher = self._a_class()
        before = self._links[class_id]
        row = await self._classes.rotate_link(teacher, class_id)
        # What stood here may have been rotated away by another process: dead all the same.
        self._dead_links = [*self._dead_links[-DEAD_LINKS_MAX:], before]
        self._links[class_id] = row["link"]

    async def _start(self) -> None:
        class_id, teacher = self._a_class()
        await self._classes.start(teacher, class_id)

    async def _end(self) -> None:
        class_id, teacher = self._a_class()
        await self._classes.end(teacher, class_id)

    async def _reopen(self) -> None:
        class_id, teacher = self._a_class()
        await self._classes.reopen(teacher, class_id)

    async def _resize(self) -> None:
        class_id, teacher = self._a_class()
        capacity = self._dice.randint(1, self._riot.capacity_max)
        await self._classes.change(teacher, class_id, title=None, capacity=capacity)

    async def _age_and_sweep(self) -> None:
        async with self._database.pool.acquire() as connection:
            try:
                await connection.execute(QUERIES["race.age"], self._dice.random() * 0.3)
            except asyncpg.DeadlockDetectedError:
                self._outcome.refused["aging gave way"] += 1
        await self._janitor.sweep(await self._moment())

    async def _reboot(self) -> None:
        """The node is started anew: its earlier boot is reaped, with everything it held."""
        await self._boot()
        await self._janitor.reap(await self._moment())

    async def _moment(self) -> datetime:
        """Now, by the database's clock."""
        async with self._database.pool.acquire() as connection:
            moment: datetime = await connection.fetchval(CONTROL_QUERIES["node.moment"])
            return moment

    async def _boot(self) -> None:
        node_id, secret = uuid7(), secrets.token_urlsafe(24)
        url = f"unix:/nowhere/{self._riot.seed}"
        await self._beats.register(Register(str(node_id), secret, url, (("127.0.0.1", 1),), "riot"))
        self._node, self._beat_number = (node_id, secret), 0

    def _a_class(self) -> tuple[UUID, Account]:
        class_id = self._dice.choice(self._class_ids)
        return class_id, Account(self._riot.teachers[class_id], "teacher", "teacher", False)

    def _somebody(self) -> Admission | None:
        return self._dice.choice(self._known) if self._known else None

    def _remember(self, admission: Admission) -> None:
        if len(self._known) < KNOWN_MAX:
            self._known.append(admission)
        else:
            self._known[self._dice.randrange(KNOWN_MAX)] = admission

    async def _look_up_links(self) -> None:
        async with self._database.pool.acquire() as connection:
            found = await connection.fetch(QUERIES["race.classes"], self._class_ids)
        self._links = {row["class_id"]: row["link"] for row in found}


def _account(admission: Admission) -> Account:
    return Account(admission.user_id, admission.name, "student", False)
