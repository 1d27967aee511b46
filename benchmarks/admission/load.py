"""A load of joins and leaves on one web process, and what its clients saw."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

from benchmarks.admission.processes import Tell, Work
from control import Account, Control, Problem

# An open loop's clock ticks this often: arrivals of one tick come together.
TICK_S = 0.001


@dataclass(frozen=True, slots=True)
class Load:
    """One process's share of a round: who joins, by which links in turn, and in which manner.

    Closed loop: `clients` at a time, each joins again as soon as it is answered. Open loop: joins
    come at `rate_per_s` by chance, however many are unanswered; a delay counts from when it was due.
    With `leaves` everybody leaves right after the join, and only the joins are timed.
    """

    people: list[UUID]
    links: list[str]
    clients: int = 0
    rate_per_s: float = 0.0
    leaves: bool = False
    seed: int = 0


@dataclass(slots=True)
class Measured:
    """What one process saw; moments are of CLOCK_MONOTONIC, which all processes share."""

    started_at: float = 0.0
    finished_at: float = 0.0
    cpu_s: float = 0.0
    delays_ms: list[float] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Total:
    """What all processes of a round saw together."""

    joins: int
    joins_per_s: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    web_us_per_join: float


@asynccontextmanager
async def opened(database_url: str, redis_url: str) -> AsyncIterator[Work]:
    """Open a Control as `lectern web` does; its jobs are Loads, their results Measured."""
    control = await Control.open(
        database_url=database_url, redis_url=redis_url, cluster_secret="of a benchmark"
    )

    async def work(load: Load, tell: Tell) -> Measured:
        return await _measure(control, load)

    try:
        yield work
    finally:
        await control.close()


def total(results: Sequence[Measured]) -> Total:
    """Add up; joins/s from the first start to the last end. ValueError where somebody was refused."""
    refused = sum((result.refused for result in results), Counter[str]())
    if refused:
        raise ValueError(f"joins were refused: {dict(refused)}")
    delays = sorted(delay for result in results for delay in result.delays_ms)
    took_s = max(r.finished_at for r in results) - min(r.started_at for r in results)
    return Total(
        joins=len(delays),
        joins_per_s=len(delays) / took_s,
        p50_ms=percentile(delays, 0.5),
        p99_ms=percentile(delays, 0.99),
        max_ms=delays[-1],
        web_us_per_join=sum(r.cpu_s for r in results) / len(delays) * 1e6,
    )


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value below which `share` of sorted values lie, by nearest rank."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def _measure(control: Control, load: Load) -> Measured:
    measured = Measured()
    began_cpu = time.process_time()
    measured.started_at = time.monotonic()
    if load.rate_per_s:
        await _open_loop(control, load, measured)
    else:
        await _closed_loop(control, load, measured)
    measured.finished_at = time.monotonic()
    measured.cpu_s = time.process_time() - began_cpu
    return measured


def _pairs(load: Load) -> Iterator[tuple[Account, str]]:
    for number, person in enumerate(load.people):
        account = Account(person, "student", "student", False)
        yield account, load.links[number % len(load.links)]


async def _closed_loop(control: Control, load: Load, measured: Measured) -> None:
    waiting = _pairs(load)

    async def client() -> None:
        for account, link in waiting:
            await _join(control, account, link, time.monotonic(), measured, load.leaves)

    await asyncio.gather(*(client() for _ in range(load.clients)))


async def _open_loop(control: Control, load: Load, measured: Measured) -> None:
    dice = random.Random(load.seed)
    due = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for account, link in _pairs(load):
            due += dice.expovariate(load.rate_per_s)
            if (early_s := due - time.monotonic()) > 0:
                # In ticks, as a sleep per arrival would be most of the work.
                await asyncio.sleep(max(TICK_S, early_s))
            group.create_task(_join(control, account, link, due, measured, load.leaves))


async def _join(
    control: Control, account: Account, link: str, due: float, measured: Measured, leaves: bool
) -> None:
    try:
        admission = await control.admit(account, link_token=link)
    except Problem as problem:
        measured.refused[problem.code] += 1
        return
    # An arrival may be up to a tick early for its time.
    measured.delays_ms.append(max(0.0, time.monotonic() - due) * 1e3)
    if leaves:
        await control.leave(account, admission.session_id, "left", class_id=admission.class_id)
