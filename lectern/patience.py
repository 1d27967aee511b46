"""How long `web` waits for a connection that says nothing whole, and how many it holds.

aiohttp waits for a request's head for as long as the connection lives. Whoever opens connections and sends
a byte now and then would take up all descriptors (Slowloris).
"""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from aiohttp import web
from aiohttp.web_protocol import RequestHandler
from prometheus_client import Counter

from control import REGISTRY

# From the connection's opening to the end of its first request's head; nginx gives 60 s, browsers need a
# round trip.
HEAD_S_MAX = 10.0
# Between two requests, a half-sent head included; longer than a proxy in front keeps its own (60 s in nginx).
KEEP_ALIVE_S = 75.0
# Connections that wait to be accepted, as far as net.core.somaxconn lets them: beyond it the kernel drops who
# connects, who tries again after 1 and 3 s. A class that begins is a burst too.
BACKLOG = 4096
# Pages of lobbies hold one each for as long as they wait.
CONNECTIONS_MAX = 12_000
# With room for files, the database and the nodes.
DESCRIPTORS_MAX = 16_384
LOOK_INTERVAL_S = 1.0
RETRY_AFTER_S = "5"

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

CLOSED = Counter(
    "lectern_http_connections_closed",
    "Connections that were closed unserved: too slow with their head, or too many.",
    ["why"],
    registry=REGISTRY,
)
for _why in ("slow", "crowded", "full"):
    CLOSED.labels(_why)


def allow_descriptors() -> None:
    """Let the process have as many descriptors as it may; each connection takes one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS_MAX if hard == resource.RLIM_INFINITY else min(DESCRIPTORS_MAX, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class Patience:
    """Closes connections that have brought no request in time, the oldest first where there are too many.

    While those that have brought one are too many, new ones are told to come again later.
    """

    def __init__(
        self, *, head_s_max: float = HEAD_S_MAX, connections_max: int = CONNECTIONS_MAX
    ) -> None:
        self._head_s_max = head_s_max
        self._connections_max = connections_max
        self._spoken: set[object] = set()  # connections that have brought a request
        self._since_s: dict[object, float] = {}  # of the others: since when they are known
        self._is_full = False

    @property
    def middleware(self) -> Callable[..., Awaitable[web.StreamResponse]]:
        """Return what an application runs before all others, to know whose head is whole."""

        @web.middleware
        async def note(request: web.Request, handler: Handler) -> web.StreamResponse:
            if self._is_full and request.protocol not in self._spoken:
                CLOSED.labels("full").inc()
                busy = web.Response(status=503, headers={"Retry-After": RETRY_AFTER_S})
                busy.force_close()
                return busy
            self._spoken.add(request.protocol)
            return await handler(request)

        return note

    async def watch(self, server: web.Server) -> None:
        """Look at all connections of a server once a second until cancelled."""
        while True:
            await asyncio.sleep(LOOK_INTERVAL_S)
            self.look(server.connections, time.monotonic())

    def look(self, connections: list[RequestHandler], now_s: float) -> None:
        """Close what is too slow, and what is too many."""
        self._spoken.intersection_update(connections)
        silent = [one for one in connections if one not in self._spoken]
        self._since_s = {one: self._since_s.get(one, now_s) for one in silent}
        too_many = len(connections) - self._connections_max
        for one, since_s in sorted(zip(silent, self._since_s.values(), strict=True), key=_age):
            if now_s - since_s >= self._head_s_max:
                _close(one, "slow")
            elif too_many > 0:
                too_many -= 1
                _close(one, "crowded")
        self._is_full = too_many > 0


def _age(known: tuple[RequestHandler, float]) -> float:
    return known[1]


def _close(connection: RequestHandler, why: str) -> None:
    CLOSED.labels(why).inc()
    connection.force_close()
