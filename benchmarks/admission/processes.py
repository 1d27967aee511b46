"""Web processes for load: real ones, that run control's code and are told by pipe what to do.

The clients are tasks inside them and call control as `signaling` does; there is no HTTP between, so that
what is measured is admission: the batches, the transactions, the answers.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import signal
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from multiprocessing.connection import Connection, wait
from typing import Any

import uvloop

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 5.0

Tell = Callable[[Any], None]
Work = Callable[[Any, Tell], Awaitable[Any]]
# Opens what a process works with, by the URLs of the database and of Redis. Found by its name in the new
# process, so it stands at the top of a module.
Opened = Callable[[str, str], AbstractAsyncContextManager[Work]]


class WebProcesses:
    """Some processes; a context manager that ends them. Their errors end the run."""

    def __init__(self, count: int, opened: Opened, database_url: str, redis_url: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        self._processes = []
        for number in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(
                target=_main,
                args=(theirs, opened, database_url, redis_url),
                name=f"web {number}",
                daemon=True,
            )
            process.start()
            theirs.close()
            self._processes.append(process)
            self._pipes.append(ours)

    def __enter__(self) -> WebProcesses:
        for pipe in self._pipes:
            if not pipe.poll(START_TIMEOUT_S):
                self.close()
                raise TimeoutError("a web process did not start in time")
            pipe.recv()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes, by force where one does not end by itself."""
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(STOP_TIMEOUT_S)
            if process.is_alive():
                process.kill()
                process.join()

    def run(
        self,
        jobs: list[Any],
        heard: Callable[[int, Any], None] = lambda number, told: None,
        meanwhile: Callable[[], None] = lambda: None,
        pause_s: float = 0.5,
    ) -> list[Any]:
        """Give each process its job and return their results, when the last is done.

        What process `number` tells goes to `heard`; `meanwhile` is called again and again between, at
        least every `pause_s` where it takes no longer itself.
        """
        for pipe, job in zip(self._pipes, jobs, strict=True):
            pipe.send(job)
        results: dict[int, Any] = {}
        while len(results) < len(jobs):
            busy = [pipe for number, pipe in enumerate(self._pipes) if number not in results]
            for pipe in wait(busy, pause_s):
                assert isinstance(pipe, Connection)
                number = self._pipes.index(pipe)
                kind, what = pipe.recv()
                if kind == "told":
                    heard(number, what)
                else:
                    results[number] = what
            meanwhile()
        return [results[number] for number in range(len(jobs))]


def _main(pipe: Connection, opened: Opened, database_url: str, redis_url: str) -> None:
    # Ctrl-C is for the parent, who closes the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(level=logging.ERROR)
    uvloop.run(_serve(pipe, opened, database_url, redis_url))


async def _serve(pipe: Connection, opened: Opened, database_url: str, redis_url: str) -> None:
    def tell(what: Any) -> None:
        pipe.send(("told", what))

    async with opened(database_url, redis_url) as work:
        pipe.send("ready")
        while True:
            try:
                job = await asyncio.to_thread(pipe.recv)
            except (EOFError, OSError):
                return
            done = asyncio.ensure_future(work(job, tell))
            gone = asyncio.ensure_future(asyncio.to_thread(_closed, pipe))
            await asyncio.wait({done, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not done.done():
                done.cancel()
                return
            pipe.send(("result", done.result()))
            await gone


def _closed(pipe: Connection) -> None:
    """Return when the parent has closed the pipe or has another job."""
    try:
        pipe.poll(None)
    except OSError:
        pass
