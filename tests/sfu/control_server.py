"""A control that only listens: registrations and beats on a unix socket, answers as the test wants."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from aiohttp import web

from wire import codec
from wire.beat import LEASE_S, Beat, BeatAnswer, Register, Registered, SessionEvent

CLUSTER_SECRET = "cluster-secret"


@dataclass
class ControlServer:
    path: str
    registered: list[Register] = field(default_factory=list)
    beats: list[Beat] = field(default_factory=list)
    events: list[SessionEvent] = field(default_factory=list)  # of accepted beats, each once
    answer: BeatAnswer = field(default_factory=lambda: BeatAnswer(cursor=0))
    status: int = 200
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    _runner: web.AppRunner | None = None
    _sequence: int = 0

    @property
    def url(self) -> str:
        return f"unix:{self.path}"

    async def start(self) -> None:
        app = web.Application(client_max_size=codec.MESSAGE_BYTES_MAX)
        app.add_routes(
            [
                web.post("/internal/nodes", self._register),
                web.post("/internal/beat", self._beat),
            ]
        )
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.UnixSite(self._runner, self.path).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def until(self, what: Callable[[], bool], limit_s: float = 10.0) -> None:
        """Wait until something is true after a beat or a registration."""
        async with asyncio.timeout(limit_s):
            while not what():
                self.heard.clear()
                await self.heard.wait()

    def ended(self, session_id: str) -> SessionEvent | None:
        return next(
            (e for e in self.events if e.kind == "ended" and e.session_id == session_id), None
        )

    def connected(self, session_id: str) -> bool:
        return any(e.kind == "connected" and e.session_id == session_id for e in self.events)

    async def _register(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == f"Bearer {CLUSTER_SECRET}"
        self.registered.append(codec.unpack(Register, await request.read()))
        self._sequence = 0
        self.heard.set()
        return web.Response(body=codec.pack(Registered(LEASE_S)))

    async def _beat(self, request: web.Request) -> web.Response:
        beat = codec.unpack(Beat, await request.read())
        node = self.registered[-1]
        assert beat.node_id == node.node_id
        assert request.headers["Authorization"] == f"Bearer {node.secret}"
        self.beats.append(beat)
        answer = self.answer
        if self.status == 200 and answer.accepted:
            if beat.sequence > self._sequence:
                self._sequence = beat.sequence
                self.events += beat.events
            if answer.send_sessions and beat.sessions is not None:
                self.answer = answer = replace(answer, send_sessions=False)
        self.heard.set()
        return web.Response(status=self.status, body=codec.pack(answer))
