"""Messages between the two ends of a link: msgpack maps with a `type` over a websocket, within bounds."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgpack
from aiohttp import web

from sfu.comments import Allowance
from sfu.live import Message

# 500 comments of the longest are 1.3 MB: four bytes a character, and a name of 300.
MESSAGE_BYTES_MAX = 2 * 1024 * 1024
# What waits for an end that does not read; a whole subtree of 10,000 people is less than 1 MB.
WAITING_BYTES_MAX = 8 * 1024 * 1024
# A class's 50 comments a second with their answers, rosters, and changes ten times a second.
MESSAGES_PER_S_MAX = 500.0
MESSAGES_BURST_MAX = 2000.0
HEARTBEAT_S = 2.0
# For the other end to answer a close; one that stands still never does.
HANG_UP_S = 0.5
WRITE_S = 5.0

Socket = aiohttp.ClientWebSocketResponse | web.WebSocketResponse


class LinkError(Exception):
    """The other end does not keep to the protocol, or to its bounds."""


class Channel:
    """One end; `write` is a task's work, `read` another's."""

    def __init__(self, socket: Socket) -> None:
        self._socket = socket
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._wake = asyncio.Event()
        self._allowance = Allowance(MESSAGES_BURST_MAX, MESSAGES_PER_S_MAX, time.monotonic())
        self.is_over = False

    def send(self, message: Message) -> None:
        """Put a message behind those that wait; where they are too many the channel ends."""
        if self.is_over or self._waiting_bytes > WAITING_BYTES_MAX:
            return  # in the second case `write` ends it
        data: bytes = msgpack.packb(message, use_bin_type=True)
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        self._wake.set()

    @property
    def was_ended(self) -> bool:
        """Whether one of the ends wanted the end of it; else it may come again."""
        return self.is_over or self._socket.close_code == aiohttp.WSCloseCode.OK

    def close(self) -> None:
        """End, once what waits is sent."""
        self.is_over = True
        self._wake.set()

    async def write(self) -> None:
        """Send until closed; LinkError where the other end does not read."""
        while True:
            while self._waiting:
                if self._waiting_bytes > WAITING_BYTES_MAX:
                    raise LinkError(f"{self._waiting_bytes} bytes wait: it reads too slowly")
                async with asyncio.timeout(WRITE_S):
                    await self._socket.send_bytes(self._waiting[0])
                # What is not sent waits: nothing may be left out before this has seen how much it is.
                self._waiting_bytes -= len(self._waiting.popleft())
            if self.is_over:
                await self._socket.close()
                return
            self._wake.clear()
            await self._wake.wait()

    async def receive(self) -> Message | None:
        """Return the next message; None at the end; LinkError for what is none."""
        message = await self._socket.receive()
        if message.type in (
            aiohttp.WSMsgType.CLOSE,
            aiohttp.WSMsgType.CLOSING,
            aiohttp.WSMsgType.CLOSED,
            aiohttp.WSMsgType.ERROR,
        ):
            return None
        if message.type is not aiohttp.WSMsgType.BINARY:
            raise LinkError(f"a message of type {message.type.name}")
        if self._allowance.take(time.monotonic()):
            raise LinkError(f"more than {MESSAGES_PER_S_MAX:.0f} messages a second")
        return _parse(message.data)

    async def read(self) -> AsyncIterator[Message]:
        while (message := await self.receive()) is not None:
            yield message


def _parse(data: bytes) -> Message:
    try:
        message: Any = msgpack.unpackb(data, raw=False, strict_map_key=True)
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        raise LinkError(f"not msgpack: {error}") from error
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise LinkError("a message without a type")
    return message


def field(message: Message, name: str, kind: type[Any], length_max: int = 0) -> Any:
    """Return a field of one type; LinkError. `length_max` holds for what has a length."""
    value: Any = message.get(name)
    # bool is an int, and no number here.
    if type(value) is not kind or (length_max and len(value) > length_max):
        raise LinkError(f"{message['type']}: {name} is not what it should be")
    return value


def texts(message: Message, name: str, count_max: int, length_max: int) -> list[str]:
    """Return a list of texts; LinkError."""
    value: list[Any] = field(message, name, list, count_max)
    if not all(isinstance(text, str) and len(text) <= length_max for text in value):
        raise LinkError(f"{message['type']}: {name} is not what it should be")
    return value
