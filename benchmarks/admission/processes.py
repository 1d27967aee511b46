"""Web processes for load: real ones, that run control's code and are told by pipe what to do.

The clients are tasks inside them and call control as `signaling` does; there is no HTTP between, so that
what is measured is admission: the batches, the transactions, the answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import signal
import threading
import traceback
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
            if (told := pipe.recv()) != "ready":
                self.close()
                raise RuntimeError(f"a web process failed: {told}")
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
            told = wait(busy, pause_s)
            for pipe in [pipe for pipe in busy if pipe in told]:
                number = self._pipes.index(pipe)
                kind, what = pipe.recv()
                if kind == "failed":
                    raise RuntimeError(f"web process {number} failed:\n{what}")
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
    loop = asyncio.get_running_loop()
    jobs: asyncio.Queue[Any] = asyncio.Queue()

    def receive() -> None:
        while True:
            try:
                job = pipe.recv()
            except (EOFError, OSError):
                job = None
            loop.call_soon_threadsafe(jobs.put_nowait, job)
            if job is None:
                return

    # A thread of its own, and not the loop: the pipe is read and written blocking, which uvloop undoes.
    threading.Thread(target=receive, daemon=True).start()
    try:
        async with opened(database_url, redis_url) as work:
            pipe.send("ready")
            while (job := await jobs.get()) is not None:
                working = asyncio.ensure_future(work(job, lambda told: pipe.send(("told", told))))
                gone = asyncio.ensure_future(jobs.get())
                await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
                if not gone.done():
                    gone.cancel()
                if not working.done():
                    working.cancel()
                    return
                pipe.send(("result", working.result()))
    except (BrokenPipeError, ConnectionResetError):
        pass  # the parent is gone
    # Whatever it is, the parent fails with it, and needs it only once.
    except Exception:  # noqa: BLE001
        with contextlib.suppress(BrokenPipeError):
            pipe.send(("failed", traceback.format_exc()))
