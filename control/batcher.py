"""Micro-batches by lane: what waits together is done in one transaction."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from control.database import try_again

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")

# Long enough that a burst meets in one batch, short beside a commit.
GATHER_S = 0.003
BATCH_ITEMS_MAX = 256
# At 5,000 joins/s, what waits in a full lane has waited for about a second.
LANE_ITEMS_MAX = 5000


class Batcher(Generic[Item, Result]):
    """Lanes of waiting items, each with one worker; items of one lane are done in their order.

    `work` takes a batch and returns one result or exception per item; what it raises goes to all.
    """

    def __init__(
        self,
        name: str,
        lanes: int,
        work: Callable[[list[Item]], Awaitable[list[Result | Exception]]],
    ) -> None:
        self._name = name
        self._work = work
        self._lanes = [_Lane[Item, Result]() for _ in range(lanes)]
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start the workers; `close` ends them."""
        self._tasks = [
            asyncio.create_task(self._serve(lane), name=f"{self._name} lane {number}")
            for number, lane in enumerate(self._lanes)
        ]

    async def close(self) -> None:
        """Stop the workers; whoever still waits is told to try again."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for lane in self._lanes:
            lane.fail(try_again())

    async def do(self, key: Hashable, item: Item) -> Result:
        """Return the item's result; items with one key share a lane. Problem `try_again` when full.

        The first item starts the workers.
        """
        if not self._tasks:
            self.start()
        lane = self._lanes[hash(key) % len(self._lanes)]
        if len(lane.waiting) >= LANE_ITEMS_MAX:
            raise try_again()
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        lane.waiting.append((item, future))
        lane.filled.set()
        return await future

    async def _serve(self, lane: _Lane[Item, Result]) -> None:
        while True:
            await lane.filled.wait()
            if len(lane.waiting) < BATCH_ITEMS_MAX:
                await asyncio.sleep(GATHER_S)
            batch = lane.take()
            if not batch:
                continue
            try:
                await self._answer(batch)
            finally:
                for _, future in batch:  # only where the worker was cancelled
                    if not future.done():
                        future.set_exception(try_again())

    async def _answer(self, batch: list[tuple[Item, asyncio.Future[Result]]]) -> None:
        results: list[Result | Exception]
        try:
            results = await self._work([item for item, _ in batch])
        # The lane must outlive any batch; every waiter gets the error and reports it.
        except Exception as error:  # noqa: BLE001
            log.warning("%s: a batch of %d failed: %r", self._name, len(batch), error)
            results = [error] * len(batch)
        for (_, future), result in zip(batch, results, strict=True):
            if future.done():  # its request was cancelled
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)


class _Lane(Generic[Item, Result]):
    def __init__(self) -> None:
        self.waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self.filled = asyncio.Event()

    def take(self) -> list[tuple[Item, asyncio.Future[Result]]]:
        """Return the longest-waiting items that somebody still waits for."""
        batch: list[tuple[Item, asyncio.Future[Result]]] = []
        while self.waiting and len(batch) < BATCH_ITEMS_MAX:
            item, future = self.waiting.popleft()
            if not future.done():
                batch.append((item, future))
        if not self.waiting:
            self.filled.clear()
        return batch

    def fail(self, error: Exception) -> None:
        while self.waiting:
            _, future = self.waiting.popleft()
            if not future.done():
                future.set_exception(error)
