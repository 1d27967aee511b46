"""Joins, leaves, beats, crashes and clocks in any order: after each step, nothing is wrong.

A failure prints its steps; they go into COMMITTED. Another run: `--hypothesis-seed=N`; a longer one:
`pytest -m long tests/control/test_any_order.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import asyncpg
import psycopg
import pytest
import uvloop
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from control.database import Database
from lectern.embedded import Postgres
from tests.control.model import CLASSES, CLOCK, NODES, PEOPLE, SEARCH_PATH, World

Step = tuple[Any, ...]

who, where, which = (
    st.integers(0, PEOPLE - 1),
    st.integers(0, CLASSES - 1),
    st.integers(0, NODES - 1),
)
JOIN = st.tuples(
    st.just("join"),
    who,
    where,
    st.sampled_from(["link", "link", "takeover", "resume", "seat"]),
    st.sampled_from(
        ["nothing"] * 5 + ["web died after the commit", "first node is slow", "answer was lost"]
    ),
)
BEAT = st.tuples(
    st.just("beat"),
    which,
    st.sampled_from(["heard", "heard", "heard", "lost", "late", "unanswered", "twice"]),
)
CONNECT = st.tuples(st.just("connect"), who)
STEP = st.one_of(
    JOIN,
    JOIN,
    JOIN,
    BEAT,
    BEAT,
    CONNECT,
    CONNECT,
    st.tuples(st.just("leave"), who, st.sampled_from(["left", "pagehide"])),
    st.tuples(st.just("vanish"), who, st.sampled_from([0, 5, 8])),
    st.tuples(st.just("give_up"), which),
    st.tuples(st.just("end"), where),
    st.tuples(st.just("reopen"), where),
    st.tuples(st.just("rotate"), where),
    st.tuples(st.just("clock"), st.sampled_from([1, 5, 11, 16, 31])),
    st.tuples(st.just("crash"), which),
    st.tuples(st.just("sweep")),
    st.tuples(st.just("reap")),
)
STEPS = st.lists(STEP, min_size=4, max_size=14)

# Orders that once broke something, in this test or in a prototype.
COMMITTED: list[list[Step]] = [
    # The first node was too slow, opened the session nevertheless, and gives it up after 30 s.
    [("join", 0, 0, "link", "first node is slow"), ("connect", 0), ("beat", 0, "heard"),
     ("beat", 1, "heard"), ("give_up", 0), ("give_up", 1), ("beat", 0, "heard"),
     ("beat", 1, "heard")],
    # The nodes hear of the end when the class goes on already.
    [("join", 0, 0, "link", "nothing"), ("connect", 0), ("beat", 0, "heard"), ("beat", 1, "heard"),
     ("end", 0), ("reopen", 0), ("join", 0, 0, "link", "nothing"), ("connect", 0),
     ("beat", 0, "heard"), ("beat", 1, "heard")],
    # A resume that never connects, given up by its node.
    [("join", 0, 0, "link", "nothing"), ("connect", 0), ("beat", 0, "heard"), ("beat", 1, "heard"),
     ("vanish", 0, 0), ("join", 0, 0, "resume", "nothing"), ("clock", 31), ("give_up", 0),
     ("give_up", 1), ("beat", 0, "heard"), ("beat", 1, "heard")],
    # Silent for seconds, and then the leave button.
    [("join", 0, 0, "link", "nothing"), ("connect", 0), ("vanish", 0, 5), ("leave", 0, "left"),
     ("beat", 0, "heard"), ("beat", 1, "heard")],
]  # fmt: skip


class Machine:
    """A loop and connections for many worlds, one after the other."""

    def __init__(self, url: str) -> None:
        self.loop = uvloop.new_event_loop()
        self.run = self.loop.run_until_complete
        self.sql = self.run(asyncpg.connect(url))
        self.database = self.run(Database.open(url))

    def close(self) -> None:
        self.run(self.database.close())
        self.run(self.sql.close())
        self.loop.close()

    def try_out(self, steps: list[Step]) -> None:
        self.run(self._try_out(steps))

    async def _try_out(self, steps: list[Step]) -> None:
        world = World(self.database, self.sql)
        try:
            await world.begin()
            for step in steps:
                await world.step(*step)
            await world.hold_the_ledger()
        finally:
            await world.close()


@pytest.fixture(scope="module")
def machine(postgres_server: Postgres, migrated_template: str) -> Iterator[Machine]:
    with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE by_hand TEMPLATE {migrated_template}")
        admin.execute(f"ALTER DATABASE by_hand SET search_path = {SEARCH_PATH}")
    url = postgres_server.url("by_hand")
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(CLOCK)
    made = Machine(url)
    yield made
    made.close()


Test = Callable[[Machine], None]


def orders(examples: int) -> Callable[[Callable[..., None]], Test]:
    chosen = settings(
        max_examples=examples,
        deadline=None,
        database=None,
        print_blob=True,
        derandomize=False,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )

    def decorate(test: Callable[..., None]) -> Test:
        decorated: Test = chosen(given(steps=STEPS)(test))
        return decorated

    return decorate


def test_the_clock_is_moved_by_hand(machine: Machine) -> None:
    async def moved() -> float:
        world = World(machine.database, machine.sql)
        before = await machine.database.value("node.moment")
        await world.clock(3600)
        after = await machine.database.value("node.moment")
        seconds: float = (after - before).total_seconds()
        return seconds

    assert 3600 <= machine.run(moved()) < 3660


@pytest.mark.parametrize("number", range(len(COMMITTED)))
def test_an_order_that_broke_something(machine: Machine, number: int) -> None:
    machine.try_out(COMMITTED[number])


@orders(60)
def test_some_orders(machine: Machine, steps: list[Step]) -> None:
    machine.try_out(steps)


@pytest.mark.long
@orders(2000)
def test_thousands_of_orders(machine: Machine, steps: list[Step]) -> None:
    machine.try_out(steps)
