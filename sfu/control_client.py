"""The node's client of control's internal API (`wire.beat`)."""

from __future__ import annotations

import random
from typing import Any, TypeVar

import aiohttp

from wire import codec
from wire.beat import Beat, BeatAnswer, Register, Registered

# Below the beat's interval twice over, so that two attempts fit before the fence.
ANSWER_S = 2.5
CONNECT_S = 1.0

T = TypeVar("T")


class ControlUnreachable(Exception):
    """No control answered, or one that cannot serve now: try again."""


class BeatRefused(Exception):
    """This boot is no longer a node (401, 409, 410)."""


class ControlClient:
    """Speaks to one of several control addresses, with commas between them; connections are kept.

    It stays with one that answers, and goes on to the next where one does not.
    """

    def __init__(self, control_urls: str) -> None:
        self._urls = [url.strip() for url in control_urls.split(",") if url.strip()]
        self._clients = [_client(url) for url in self._urls]
        # Nodes that start together do not all go to the same one.
        self._current = random.randrange(len(self._clients))

    async def close(self) -> None:
        for http, _ in self._clients:
            await http.close()

    async def register(self, message: Register, cluster_secret: str) -> Registered:
        """Become a node; ControlUnreachable also for a refusal, which an operator must mend."""
        try:
            return await self._post("/internal/nodes", message, cluster_secret, Registered)
        except BeatRefused as error:
            raise ControlUnreachable(f"registration refused: {error}") from error

    async def beat(self, message: Beat, secret: str) -> BeatAnswer:
        """Say what changed; ControlUnreachable or BeatRefused."""
        return await self._post("/internal/beat", message, secret, BeatAnswer)

    async def _post(self, path: str, message: Any, secret: str, kind: type[T]) -> T:
        http, base = self._clients[self._current]
        try:
            async with http.post(
                base + path,
                data=codec.pack(message),
                headers={"Authorization": f"Bearer {secret}"},
                allow_redirects=False,
            ) as response:
                body = await response.read()
                status = response.status
        except (aiohttp.ClientError, OSError) as error:
            self._go_on()
            raise ControlUnreachable(str(error) or type(error).__name__) from error
        if status in (401, 409, 410):
            raise BeatRefused(f"{path} answered {status}")
        if status != 200:
            self._go_on()
            raise ControlUnreachable(f"{path} answered {status}")
        try:
            return codec.unpack(kind, body)
        except codec.WireError as error:
            raise ControlUnreachable(f"{path} answered nonsense: {error}") from error

    def _go_on(self) -> None:
        self._current = (self._current + 1) % len(self._clients)


def _client(control_url: str) -> tuple[aiohttp.ClientSession, str]:
    """Return a client of one address, and what its paths begin with."""
    connector: aiohttp.BaseConnector | None = None
    base = control_url.rstrip("/")
    if control_url.startswith("unix:"):
        connector = aiohttp.UnixConnector(control_url.removeprefix("unix:"))
        base = "http://control"
    http = aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=ANSWER_S, sock_connect=CONNECT_S),
    )
    return http, base
