"""Everything at once, from seeds; afterwards every invariant holds."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from benchmarks.admission.school import live_classes
from control import Account, Admission, Control, Problem
from tests.control.people import CLUSTER_SECRET, FakeNode, School, codes_of, event

EXPECTED = {
    "class_full", "active_elsewhere", "class_ended", "class_not_live", "link_invalid", "not_found",
    "replaced", "try_again", "capacity_below_used", "no_capacity",
}  # fmt: skip


class Riot:
    """Some classes, many people, two nodes, and no manners."""

    def __init__(self, school: School, seed: int) -> None:
        self.school = school
        self.dice = random.Random(seed)
        self.teachers: dict[UUID, Account] = {}
        self.links: dict[UUID, str] = {}
        self.people: list[Account] = []
        self.nodes: list[FakeNode] = []
        self.latest: dict[UUID, Admission] = {}
        self.refused: set[str] = set()
        self.done = 0

    async def gather_people(self) -> None:
        for _ in range(5):
            teacher, class_id, link = await self.school.live_class(capacity=8)
            self.teachers[class_id] = teacher
            self.links[class_id] = link
        self.people = await self.school.people(60)
        self.nodes = [await self.school.node() for _ in range(2)]

    async def act(self) -> None:
        actions = [self.join] * 10 + [self.leave] * 4 + [self.report] * 6
        actions += [self.rotate, self.end_and_reopen, self.resize, self.sweep]
        action = self.dice.choice(actions)
        try:
            await action()
        except Problem as problem:
            assert problem.code in EXPECTED, problem
            self.refused.add(problem.code)
        self.done += 1

    async def join(self) -> None:
        person = self.dice.choice(self.people)
        class_id = self.dice.choice(list(self.links))
        known = self.latest.get(person.account_id)
        resume = known.session_id if known and self.dice.random() < 0.3 else None
        admission = await self.school.plane.admit(
            person,
            link_token=self.links[class_id],
            takeover=self.dice.random() < 0.4,
            resume_of=resume,
        )
        self.latest[person.account_id] = admission
        place = await self.school.plane.place(admission.class_id)
        await self.school.plane.bind_session(admission, place.node_id)

    def somebody(self) -> Admission | None:
        return self.dice.choice(list(self.latest.values())) if self.latest else None

    async def leave(self) -> None:
        if (admission := self.somebody()) is None:
            return
        person = next(p for p in self.people if p.account_id == admission.user_id)
        reason = self.dice.choice(["left", "pagehide"])
        await self.school.plane.leave(person, admission.session_id, reason)

    async def report(self) -> None:
        if (admission := self.somebody()) is None:
            return
        kind = self.dice.choice(["connected", "connected", "ended"])
        reason = self.dice.choice(["disconnected", "left", "handshake_failed"])
        said = event(kind, admission, self.dice.randrange(50), reason if kind == "ended" else None)
        await self.dice.choice(self.nodes).beat(said)

    async def rotate(self) -> None:
        class_id = self.dice.choice(list(self.links))
        row = await self.school.plane._classes.rotate_link(self.teachers[class_id], class_id)
        self.links[class_id] = row["link"]

    async def end_and_reopen(self) -> None:
        class_id = self.dice.choice(list(self.links))
        await self.school.plane._classes.end(self.teachers[class_id], class_id)
        await self.school.plane._classes.reopen(self.teachers[class_id], class_id)

    async def resize(self) -> None:
        class_id = self.dice.choice(list(self.links))
        capacity = self.dice.randrange(3, 12)
        await self.school.plane._classes.change(
            self.teachers[class_id], class_id, title=None, capacity=capacity
        )

    async def sweep(self) -> None:
        await self.school.plane._database.rows("test.expire", self.dice.random() * 0.2)
        await self.school.sweep()


@pytest.fixture
def quick_expiry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A query that lets some of the waiting seats be overdue, as time would."""
    from control import queries

    monkeypatch.setitem(
        queries.QUERIES,
        "test.expire",
        "UPDATE seat SET grace_until = grace_until - interval '1 h',"
        " confirm_by = confirm_by - interval '1 h'"
        " WHERE user_id IN (SELECT user_id FROM seat TABLESAMPLE BERNOULLI (100 * $1::float8))",
    )


async def test_one_person_gets_one_seat_out_of_a_thousand_classes(
    school: School, second: Control, database_url: str
) -> None:
    (person,) = await school.people(1)
    classes = await live_classes(database_url, 1000, capacity=3)
    planes = (school.plane, second)
    admitted, codes = await codes_of(
        [planes[n % 2].admit(person, link_token=c.link) for n, c in enumerate(classes)]
    )
    assert len(admitted) == 1
    assert codes == ["active_elsewhere"] * 999
    seats = await school.sql.fetch("SELECT class_id FROM seat WHERE NOT is_host")
    assert [seat["class_id"] for seat in seats] == [admitted[0].class_id]
    assert await school.sql.fetchval("SELECT sum(used) FROM class") == 1
    await school.assert_invariants()


async def test_twice_the_capacity_fills_it_exactly_again_and_again(
    school: School, second: Control
) -> None:
    _, class_id, link = await school.live_class(capacity=100)
    people = await school.people(200)
    planes = (school.plane, second)
    dice = random.Random(1)
    for _ in range(10):
        dice.shuffle(people)
        admitted, codes = await codes_of(
            [planes[n % 2].admit(p, link_token=link) for n, p in enumerate(people)]
        )
        assert len(admitted) == 100 and codes == ["class_full"] * 100
        used = "SELECT used FROM class WHERE class_id = $1"
        assert await school.sql.fetchval(used, class_id) == 100
        accounts = {p.account_id: p for p in people}
        await asyncio.gather(
            *(second.leave(accounts[a.user_id], a.session_id, "left") for a in admitted)
        )
        assert await school.sql.fetchval(used, class_id) == 0
    await school.assert_invariants()


@pytest.fixture
async def second(database_url: str, redis_url: str) -> AsyncIterator[Control]:
    """Another web process's Control on the same database."""
    opened = await Control.open(
        database_url=database_url, redis_url=redis_url, cluster_secret=CLUSTER_SECRET
    )
    yield opened
    await opened.close()


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_a_riot_breaks_nothing(school: School, quick_expiry: None, seed: int) -> None:
    riot = Riot(school, seed)
    await riot.gather_people()

    async def rioter() -> None:
        for _ in range(30):
            await riot.act()

    await asyncio.gather(*(rioter() for _ in range(20)))
    await school.assert_invariants()
    # The riot was one: people were let in, and turned away for more than one reason.
    assert riot.done == 600 and len(riot.latest) > 30
    assert {"class_full", "active_elsewhere"} <= riot.refused


async def test_a_lost_connection_loses_and_doubles_no_acknowledged_join(
    school: School, database_url: str
) -> None:
    links = [(await school.live_class(capacity=100))[2] for _ in range(3)]
    people = await school.people(240)
    cut = 0

    async def cutter() -> None:
        nonlocal cut
        killer = await asyncpg.connect(database_url)
        try:
            for _ in range(6):
                await asyncio.sleep(0.03)
                cut += await killer.fetchval(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                    " WHERE application_name = 'lectern' AND datname = current_database()"
                )
        finally:
            await killer.close()

    async def joiner(number: int, person: Account) -> Any:
        await asyncio.sleep(number * 0.001)
        for _ in range(20):
            try:
                return await school.plane.admit(person, link_token=links[number % 3])
            except Problem as problem:
                assert problem.code == "try_again"
            except (OSError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError,
                    asyncpg.AdminShutdownError):  # fmt: skip
                pass  # the link could not be looked up; HTTP makes it try_again
            await asyncio.sleep(0.05)
        return None

    results = await asyncio.gather(cutter(), *(joiner(n, p) for n, p in enumerate(people)))
    admitted = [r for r in results if isinstance(r, Admission)]
    assert cut > 0 and len(admitted) == 240
    for admission in admitted:
        row = await school.sql.fetchrow(
            "SELECT session_id, fence FROM seat WHERE user_id = $1", admission.user_id
        )
        assert row is not None
        assert (row["session_id"], row["fence"]) == (admission.session_id, admission.fence)
    await school.assert_invariants()
