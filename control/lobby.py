"""The lobby of a class: whoever holds its link hears of state and presence, by server-sent events.

One poll a second for all watched classes of this process, however many people wait in them; what
happens in this process is looked at at once. Changes are coalesced: a slow reader gets the newest.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from typing import Any
from uuid import UUID

from aiohttp import hdrs, web

from control.class_api import link_invalid, link_of
from control.database import AWAY, Database, try_again
from control.operations import Operation

log = logging.getLogger(__name__)

POLL_INTERVAL_S = 1.0
# Proxies cut streams that are silent for a minute.
KEEPALIVE_S = 15.0
WATCHERS_MAX = 20_000
# A full lobby is let in at the rate that admission and the nodes take without queueing.
JOINS_PER_S = 500
# Of all who lost a web process at once, some come back a second earlier than others.
RETRY_MS = (1000, 3000)


class _Lobby:
    """What is known of one class, and who is told when it changes."""

    def __init__(self, link_version: int, state: str, present: int) -> None:
        self.watchers = 0
        self.show(link_version, state, present)
        self.changed = asyncio.Event()

    def show(self, link_version: int, state: str, present: int) -> None:
        self.link_version = link_version
        self.state = state
        self.present = present

    def tell(self) -> None:
        """Wake everybody who waits now; those who come later wait for the next change."""
        self.changed.set()
        self.changed = asyncio.Event()


class Lobbies:
    """Watched classes; `run` is its one task."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lobbies: dict[UUID, _Lobby] = {}
        self._watchers = 0
        self._look = asyncio.Event()
        self._closing = False

    def operations(self) -> list[Operation]:
        return [
            Operation("GET", "/api/links/{token}/events", "watchLink",
                      "Server-sent events: `state` {state, present, join_after_ms where live}, "
                      "`present` {present}, `gone` when the link is dead.",
                      self.watch, "EventStream", codes=("link_invalid", "try_again"),
                      signed_in=False, media_type="text/event-stream"),
        ]  # fmt: skip

    def look(self) -> None:
        """Something changed in this process: poll now."""
        self._look.set()

    def close(self) -> None:
        """End every stream; browsers come back by themselves, to another process."""
        self._closing = True
        for lobby in self._lobbies.values():
            lobby.tell()

    async def run(self) -> None:
        """Poll until cancelled; an absent database only pauses it."""
        while True:
            try:
                await asyncio.wait_for(self._look.wait(), POLL_INTERVAL_S)
            except TimeoutError:
                pass
            self._look.clear()
            if not self._lobbies:
                continue
            try:
                await self._poll()
            except AWAY as error:
                log.warning("lobbies are not told: the database is away: %r", error)
                await asyncio.sleep(POLL_INTERVAL_S)

    async def _poll(self) -> None:
        found = await self._database.rows("class.watched", list(self._lobbies))
        for row in found:
            lobby = self._lobbies.get(row["class_id"])
            now = (row["link_version"], row["state"], row["present"])
            if lobby is None or now == (lobby.link_version, lobby.state, lobby.present):
                continue
            lobby.show(*now)
            lobby.tell()

    async def watch(self, request: web.Request, fields: dict[str, Any]) -> web.StreamResponse:
        """Stream what happens until the client goes, the link dies or this process ends."""
        if self._watchers >= WATCHERS_MAX:
            raise try_again()
        found = await self._database.row("class.by_link", link_of(request))
        if found is None:
            raise link_invalid()
        class_id = found["class_id"]
        lobby = self._lobbies.get(class_id)
        if lobby is None:
            lobby = _Lobby(found["link_version"], found["state"], found["present"])
            self._lobbies[class_id] = lobby
        lobby.watchers += 1
        self._watchers += 1
        try:
            return await self._stream(request, lobby, found["link_version"])
        finally:
            self._watchers -= 1
            lobby.watchers -= 1
            if not lobby.watchers:
                del self._lobbies[class_id]

    async def _stream(
        self, request: web.Request, lobby: _Lobby, link_version: int
    ) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={
                hdrs.CONTENT_TYPE: "text/event-stream",
                hdrs.CACHE_CONTROL: "no-store",
                "X-Accel-Buffering": "no",
                "X-Content-Type-Options": "nosniff",
            }
        )
        await response.prepare(request)
        try:
            await response.write(f"retry: {random.randint(*RETRY_MS)}\n\n".encode())
            state: str | None = None
            present = -1
            while not self._closing:
                changed = lobby.changed
                if lobby.link_version != link_version:
                    await response.write(_event("gone", {}))
                    break
                if lobby.state != state:
                    # Who waits while it begins is spread out; who comes later may come at once.
                    wait_ms = _join_after_ms(lobby.watchers) if state is not None else 0
                    await response.write(_event("state", _state(lobby, wait_ms)))
                elif lobby.present != present:
                    await response.write(_event("present", {"present": lobby.present}))
                state, present = lobby.state, lobby.present
                await self._wait(response, changed)
        except ConnectionError:
            pass  # the page was closed
        return response

    async def _wait(self, response: web.StreamResponse, changed: asyncio.Event) -> None:
        while True:
            try:
                await asyncio.wait_for(changed.wait(), KEEPALIVE_S)
                return
            except TimeoutError:
                await response.write(b": still here\n\n")


def _join_after_ms(watchers: int) -> int:
    return int(random.uniform(0, watchers / JOINS_PER_S) * 1000)


def _state(lobby: _Lobby, join_after_ms: int) -> dict[str, Any]:
    shown: dict[str, Any] = {"state": lobby.state, "present": lobby.present}
    if lobby.state == "live":
        shown["join_after_ms"] = join_after_ms
    return shown


def _event(name: str, data: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()
