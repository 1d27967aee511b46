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
        self._touched: set[int] = set()
        self._due = False

    def send(self, number: int, datagram: bytes) -> None:
        """Send a datagram of the session of this number, in this turn of the loop or right after it."""
        self._waiting.append((number, datagram))
        if len(self._waiting) >= DATAGRAMS_MAX:
            self.flush()
        self._flush_soon()

    def touch(self, number: int) -> None:
        """Note a sign of life of the session of this number."""
        self._touched.add(number)
        self._flush_soon()

    def flush(self) -> None:
        """Hand over what waits; before any other command that has to come after it."""
        self._due = False
        if self._waiting or self._touched:
            waiting, self._waiting = self._waiting, []
            touched, self._touched = self._touched, set()
            self._media.hand_over(waiting, list(touched))

    def _flush_soon(self) -> None:
        if not self._due and (self._waiting or self._touched):
            self._due = True
            asyncio.get_running_loop().call_soon(self.flush)
