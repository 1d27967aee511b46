"""Datagrams for the media thread, gathered: to wake it for each cost more than all else of a message."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sfu._core import Media

# Beyond so many they go at once, however busy the loop is.
DATAGRAMS_MAX = 256


class Outbox:
    """Hands over what one turn of the event loop has sent."""

    def __init__(self, media: Media) -> None:
        self._media = media
        self._waiting: list[tuple[int, bytes]] = []

    def send(self, number: int, datagram: bytes) -> None:
        """Send a datagram of the session of this number, in this turn of the loop or right after it."""
        self._waiting.append((number, datagram))
        if len(self._waiting) >= DATAGRAMS_MAX:
            self.flush()
        elif len(self._waiting) == 1:
            asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Hand over what waits; before any other command that has to come after it."""
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            self._media.send_dtls_many(waiting)
