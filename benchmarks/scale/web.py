"""One web process of a run: its share of the phases, and of the nodes."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from uuid import UUID

from benchmarks.admission.processes import Tell, Work
from benchmarks.scale.fleet import MadeUpNode
from benchmarks.scale.world import Phase, Share, Told
from control import AWAY, Account, Admission, Problem
from control.beats import Beats
from control.classes import Classes
from control.database import Database
from control.janitor import Janitor
from control.placement import Limits, Placement
from control.redis_map import RedisMap
from control.seats import Seats
from control.sessions import SESSION_IDLE_S
from wire.beat import BEAT_INTERVAL_S

# Joins wait for their batch, so more of them are under way than of what has a transaction each.
JOINING_FACTOR = 4
PROGRESS_ITEMS = 5000
# Delays are kept one in so many, and the first ones all.
SAMPLE_EVERY = 20
SESSIONS_PER_NODE = 100_000
# A checkpoint of a full disk queue takes seconds, and a run of half an hour meets some.
ATTEMPTS_MAX = 20
AGAIN_S = 0.5
# Nobody publishes while classes are being started; that may take an hour.
HOST_ABSENCE_MAX_S = 6 * 3600.0

Step = Callable[[int], Awaitable[None]]


@asynccontextmanager
async def opened(database_url: str, redis_url: str) -> AsyncIterator[Work]:
    """Open what a web process has; the first job is a Share, the others Phases, whose results are Told."""
    database, redis_map = await Database.open(database_url), RedisMap(redis_url)
    # Nodes talk to web by connections of their own, so that clients cannot hold up beats.
    beating = await Database.open(database_url)
    seats = Seats(database)
    seats.start()
    janitor = Janitor(beating, idle_s=SESSION_IDLE_S, host_absence_max_s=HOST_ABSENCE_MAX_S)
    sweeping = asyncio.create_task(janitor.run(), name="janitor")
    beats = Beats(beating, redis_map)
    # As many as are asked for fit on a made-up node.
    placement = Placement(database, redis_map, limits=Limits(sessions_per_node=SESSIONS_PER_NODE))
    web = Web(Classes(database), seats, placement, beats)

    async def work(job: Share | Phase, tell: Tell) -> Told:
        return await (web.begin(job) if isinstance(job, Share) else web.do(job, tell))

    try:
        yield work
    finally:
        sweeping.cancel()
        await web.close()
        await beats.close()
        await placement.close()
        await seats.close()
        await redis_map.close()
        await beating.close()
        await database.close()


async def _done(step: Step, number: int, told: Told) -> None:
    """Do a step, again where the database was too slow for it, as a page does that is told `try_again`."""
    for attempt in range(ATTEMPTS_MAX):
        try:
            return await step(number)
        except AWAY as error:
            reason: Exception = error
        except Problem as problem:
            if problem.code not in ("try_again", "no_capacity"):
                raise
            reason = problem
        told.tried_again += 1
        await asyncio.sleep(AGAIN_S * (1 + attempt) * (0.5 + random.random()))
    raise reason


class Web:
    """The share of one process, and what it has become."""

    def __init__(self, classes: Classes, seats: Seats, placement: Placement, beats: Beats) -> None:
        self._classes, self._seats, self._placement = classes, seats, placement
        self._beats = beats
        self._told = Told()
        self._nodes: dict[UUID, MadeUpNode] = {}
        self._living: list[asyncio.Task[None]] = []
        self._made: list[tuple[UUID, str]] = []  # class and link

    async def begin(self, share: Share) -> Told:
        """Register the nodes and let them live."""
        self._share = share
        self._made = [(UUID(int=0), "")] * len(share.teachers)
        count = len(share.nodes)
        for number, node_id in enumerate(share.nodes):
            node = MadeUpNode(node_id, self._beats, self._told)
            await node.register()
            self._nodes[node_id] = node
            # Spread evenly, as the clocks of many machines are.
            living = node.live(BEAT_INTERVAL_S * number / count)
            self._living.append(asyncio.create_task(living, name="node"))
        return Told(done=count)

    async def close(self) -> None:
        for task in self._living:
            task.cancel()
        await asyncio.gather(*self._living, return_exceptions=True)

    async def do(self, phase: Phase, tell: Tell) -> Told:
        """Do one phase; a node that was lost ends it."""
        told = self._told = Told(started_at=time.monotonic(), cpu_s=-time.process_time())
        for node in self._nodes.values():
            node.told = told
        if phase.name == "beat":
            await self._with_nodes(asyncio.sleep(phase.seconds))
        else:
            count = len(self._share.students if phase.name == "join" else self._share.teachers)
            await self._with_nodes(self._each(phase.name, count, told, tell))
        told.finished_at = time.monotonic()
        told.cpu_s += time.process_time()
        return told

    async def _with_nodes(self, work: Awaitable[None]) -> None:
        """Wait for the work and, with it, for every node to have reported; a dead node is an error."""

        async def both() -> None:
            await work
            for node in self._nodes.values():
                await node.settled.wait()

        working = asyncio.ensure_future(both())
        done, _ = await asyncio.wait({working, *self._living}, return_when=asyncio.FIRST_COMPLETED)
        if working not in done:
            working.cancel()
        for task in done:
            task.result()

    async def _each(self, name: str, count: int, told: Told, tell: Tell) -> None:
        step: Step = getattr(self, f"_{name}")
        numbers: Iterable[int] = iter(range(count))
        clients = self._share.clients * (JOINING_FACTOR if name == "join" else 1)

        async def client() -> None:
            for number in numbers:
                began = time.monotonic()
                await _done(step, number, told)
                told.done += 1
                if told.done % SAMPLE_EVERY == 0 or told.done < 1000:
                    told.delays_ms.append((time.monotonic() - began) * 1e3)
                if told.done % PROGRESS_ITEMS == 0:
                    tell(told.done)

        async with asyncio.TaskGroup() as group:
            for _ in range(clients):
                group.create_task(client())

    def _teacher(self, number: int) -> Account:
        return Account(self._share.teachers[number], "teacher", "teacher", False)

    async def _create(self, number: int) -> None:
        teacher = self._teacher(number)
        made = await self._classes.create(teacher, title="A class", capacity=100, key="1")
        self._made[number] = (made["class_id"], made["link"])

    async def _start(self, number: int) -> None:
        await self._classes.start(self._teacher(number), self._made[number][0])

    async def _publish(self, number: int) -> None:
        teacher, (class_id, _) = self._teacher(number), self._made[number]
        await self._open(await self._classes.publish(teacher, class_id))

    async def _join(self, number: int) -> None:
        student = Account(self._share.students[number], "student", "student", False)
        _, link = self._made[number % len(self._made)]
        await self._open(
            await self._seats.admit(
                student, link_token=link, class_id=None, takeover=False, resume_of=None
            )
        )

    async def _open(self, admission: Admission) -> None:
        # A made-up node is an object of one process, whose classes alone it can carry.
        others = self._share.others
        if admission.is_host:
            node = await self._placement.place(admission.class_id, others)
        else:
            place = await self._placement.place_viewer(admission.class_id, exclude=others)
            node = place.node
        await self._seats.bind(admission, node.node_id)
        self._nodes[node.node_id].open(admission.session_id, admission.fence, admission.class_id)

    async def _end(self, number: int) -> None:
        await self._classes.end(self._teacher(number), self._made[number][0])
