"""The data channel `live` of one session: docs/protocol.md, from the node's side.

Messages are msgpack maps with a `type`. States (count, slots) are coalesced: a reader that is slow
gets the newest of each when it has room again, so what waits for it is bounded by the kinds there
are. Of the comments it keeps its position in the class's log (`sfu.comments`).
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from typing import Any, Protocol

import msgpack
from aiortc import RTCDataChannel

from sfu.association import Association
from sfu.refusals import Refusals

VERSION = 1
LABEL = "live"
MESSAGE_BYTES_MAX = 16 * 1024  # as the answer's a=max-message-size says
# Below, a message is one packet either way.
DEFLATE_BYTES_MIN = 800
DEFLATE_LEVEL = 6
ZLIB = (
    b"x"  # first of a zlib stream (RFC 1950 section 2.2) with a window of 32 KiB; no map begins so
)
BUFFERED_BYTES_MAX = 64 * 1024  # what may wait in SCTP for a slow reader
MESSAGES_PER_S_MAX = 50  # of a client; what is beyond is ignored and counted
BURST_MESSAGES_MAX = 100

Message = dict[str, Any]


def encode(message: Message) -> bytes:
    """Return a message's bytes, packed where it is long; done once for all members of a class.

    What a message costs is its SCTP packets, of 1,200 bytes each, to every reader: deflate makes one or
    two of the three that a second's comments take.
    """
    packed: bytes = msgpack.packb(message, use_bin_type=True)
    return packed if len(packed) < DEFLATE_BYTES_MIN else zlib.compress(packed, DEFLATE_LEVEL)


def decode(data: bytes) -> Message:
    """Return the message that `encode` made bytes of; for the other end of the channel."""
    if data[:1] == ZLIB:
        data = zlib.decompress(data)
    message: Message = msgpack.unpackb(data)
    return message


class Log(Protocol):
    """What was said in a class, as one of its readers sees it."""

    @property
    def end(self) -> int: ...
    def since(self, position: int) -> tuple[bytes, int]: ...


class Live:
    """Sends states, greetings and comments to one client, and takes its messages."""

    def __init__(
        self,
        association: Association,
        *,
        greeting: Callable[[], Message],
        log: Log,
        on_message: Callable[[Message], None],
        refusals: Refusals,
    ) -> None:
        self._association = association
        self._greeting = greeting
        self._on_message = on_message
        self._channel: RTCDataChannel | None = None
        self._states: dict[str, bytes] = {}  # newest unsent of each type
        self._log = log
        self._position = log.end  # of the comments
        self._allowance = float(BURST_MESSAGES_MAX)
        self._allowed_at_s = time.monotonic()
        self.ignored_messages = 0
        self._refusals = refusals
        association.on("datachannel", self._take)

    @property
    def is_open(self) -> bool:
        return self._channel is not None and self._channel.readyState == "open"

    def send(self, data: bytes) -> bool:
        """Send a message that need not arrive; return whether there was room for it."""
        if not self._has_room():
            return False
        assert self._channel is not None
        self._channel.send(data)
        return True

    def send_state(self, kind: str, data: bytes) -> None:
        """Send the newest state of a kind, now or when the reader has room."""
        if (self._states or not self.send(data)) and self.is_open:
            self._states[kind] = data
            self.drain()

    def drain(self) -> None:
        """Send the states and comments that wait, as far as there is room."""
        while self._states and self._has_room():
            kind = next(iter(self._states))
            self.send(self._states.pop(kind))
        self.tell_comments()

    def tell_comments(self) -> None:
        """Send what was said since the last time, as far as there is room."""
        while self._position < self._log.end and self._has_room():
            data, position = self._log.since(self._position)
            self.send(data)
            self._position = position

    def ignore(self) -> None:
        """Note that a message of the client was not taken."""
        self.ignored_messages += 1
        self._refusals.live_messages += 1

    def close(self) -> None:
        """Forget the channel."""
        self._association.remove_all_listeners()
        if self._channel is not None:
            self._channel.remove_all_listeners()
            self._channel = None
        self._states.clear()

    def _has_room(self) -> bool:
        channel = self._channel
        return (
            channel is not None
            and channel.readyState == "open"
            and channel.bufferedAmount < BUFFERED_BYTES_MAX
        )

    def _take(self, channel: RTCDataChannel) -> None:
        reliable = channel.maxRetransmits is None and channel.maxPacketLifeTime is None
        first = self._channel is None
        if channel.label != LABEL or not (channel.ordered and reliable and first):
            channel.close()
            return
        self._channel = channel
        channel.on("message", self._receive)
        channel.send(encode(self._greeting()))
        self._position = self._log.end

    def _receive(self, data: bytes | str) -> None:
        message = self._parse(data)
        if message is None:
            self.ignore()
        else:
            self._on_message(message)

    def _parse(self, data: bytes | str) -> Message | None:
        now_s = time.monotonic()
        refill = (now_s - self._allowed_at_s) * MESSAGES_PER_S_MAX
        self._allowance = min(self._allowance + refill, BURST_MESSAGES_MAX)
        self._allowed_at_s = now_s
        if self._allowance < 1 or not isinstance(data, bytes) or len(data) > MESSAGE_BYTES_MAX:
            return None
        self._allowance -= 1
        try:
            message = msgpack.unpackb(data, raw=False, strict_map_key=True)
        except (ValueError, msgpack.UnpackException, RecursionError):
            return None
        if not isinstance(message, dict) or not isinstance(message.get("type"), str):
            return None
        return message
