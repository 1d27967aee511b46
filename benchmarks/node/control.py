"""A control that takes registrations and beats and has nothing to say: one thread, a few answers a second."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web

from benchmarks.registry import BenchmarkError
from wire import codec
from wire.beat import LEASE_S, Beat, BeatAnswer, Register, Registered


class ListeningControl:
    """Answers on a unix socket for as long as the `with` block."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="control", daemon=True)
        self._listening = threading.Event()
        self._registered = threading.Event()
        self._register_message: Register | None = None
        self._end = asyncio.Event()
        self.ended: dict[str, int] = {}  # by reason, of sessions

    @property
    def url(self) -> str:
        return f"unix:{self._path}"

    def wait_registered(self, within_s: float) -> Register:
        """Return the node's registration; BenchmarkError where none comes."""
        if not self._registered.wait(within_s) or self._register_message is None:
            raise BenchmarkError("The node has not registered.")
        return self._register_message

    def __enter__(self) -> Self:
        self._thread.start()
        self._listening.wait()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    def _serve(self) -> None:
        self._loop.run_until_complete(self._listen())
        self._loop.close()

    async def _listen(self) -> None:
        app = web.Application(client_max_size=codec.MESSAGE_BYTES_MAX)
        app.add_routes(
            [web.post("/internal/nodes", self._take), web.post("/internal/beat", self._beat)]
        )
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.UnixSite(runner, self._path).start()
        self._listening.set()
        await self._end.wait()
        await runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        self._register_message = codec.unpack(Register, await request.read())
        self._registered.set()
        return web.Response(body=codec.pack(Registered(LEASE_S)))

    async def _beat(self, request: web.Request) -> web.Response:
        for event in codec.unpack(Beat, await request.read()).events:
            if event.reason is not None:
                self.ended[event.reason] = self.ended.get(event.reason, 0) + 1
        return web.Response(body=codec.pack(BeatAnswer(cursor=0)))
