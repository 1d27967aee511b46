"""Teachers and students who reconnect as the pages do, with aiortc for a browser."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgpack
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack

from sfu.live import decode

SILENCE_S = 1.0  # a node sends something every 250 ms
LOOK_S = 0.05
RETRY_S = 0.25
REQUEST_S = 3.0
CONNECT_S = 5.0
# A teacher who moves goes on sending to the old node until the students have followed.
OVERLAP_S = 2.5


async def until(what: Callable[[], bool], within_s: float = math.inf) -> None:
    """Wait until something is true; TimeoutError."""
    deadline = time.monotonic() + within_s
    while not what():
        if time.monotonic() > deadline:
            raise TimeoutError
        await asyncio.sleep(LOOK_S)


class Connection:
    """One peer connection and its session; `heard_at` is when anything authentic came last."""

    def __init__(self, person: Person) -> None:
        self.heard_at = time.monotonic()
        self.moved = False
        self.replaced = False
        self.ready = asyncio.Event()  # a student has a packet of sound, a teacher a connection
        self.location = ""
        self.resume = ""
        self._person = person
        self._pc = RTCPeerConnection()
        if person.teaches:
            transceiver = self._pc.addTransceiver(AudioStreamTrack(), direction="sendonly")
        else:
            transceiver = self._pc.addTransceiver("audio", direction="recvonly")
        self._channel = self._pc.createDataChannel("live")
        self._channel.on("message", self._hear)
        self._pc.on("connectionstatechange", self._changed)
        self._watch(transceiver)

    @property
    def is_silent(self) -> bool:
        return time.monotonic() - self.heard_at > SILENCE_S

    @property
    def node(self) -> str:
        return self.location.split("/")[-2] if self.location else ""

    @property
    def session(self) -> str:
        return self.location.rsplit("/", 1)[-1]

    async def open(self, url: str, query: str) -> str:
        """Offer and connect; return "" or the code with which that was refused."""
        await self._pc.setLocalDescription(await self._pc.createOffer())
        headers = {**self._person.token, "Content-Type": "application/sdp"}
        sdp = self._pc.localDescription.sdp
        async with self._person.http.post(url + query, data=sdp, headers=headers) as response:
            if response.status != 201:
                return str((await response.json()).get("code", response.status))
            answer = await response.text()
            self.location = response.headers["Location"]
            self.resume = response.headers["Lectern-Resume"]
        await self._pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        async with asyncio.timeout(CONNECT_S):
            await self.ready.wait()
        self.heard_at = time.monotonic()  # silence begins with the connection, not with the offer
        return ""

    async def close(self) -> None:
        await self._pc.close()

    def say(self, message: dict[str, Any]) -> None:
        if self._channel.readyState == "open":
            self._channel.send(msgpack.packb(message))

    def _watch(self, transceiver: Any) -> None:
        dtls = transceiver.sender.transport
        rtcp, rtp = dtls._handle_rtcp_data, dtls._handle_rtp_data

        async def handle_rtcp(data: bytes) -> None:
            self.heard_at = time.monotonic()
            await rtcp(data)

        async def handle_rtp(data: bytes, arrival_time_ms: int) -> None:
            self.heard_at = time.monotonic()
            self._person.note_packet(self.heard_at)
            self.ready.set()
            if self._person.decodes:
                await rtp(data, arrival_time_ms)

        dtls._handle_rtcp_data, dtls._handle_rtp_data = handle_rtcp, handle_rtp

    def _changed(self) -> None:
        if self._pc.connectionState == "connected" and self._person.teaches:
            self.ready.set()

    def _hear(self, data: bytes) -> None:
        message = decode(data)
        if message["type"] == "ping":
            self.say({"type": "pong"})
        elif message["type"] == "moved":
            self.moved = True
        elif message["type"] == "replaced":
            self.replaced = True
        self._person.messages.append(message)


@dataclass(eq=False)
class Person:
    """Stays in class until cancelled. `gaps` are (when it was over, seconds) between two packets."""

    http: aiohttp.ClientSession
    token: dict[str, str]
    url: str  # to join by
    again_url: str  # to come back by
    teaches: bool = False
    decodes: bool = False
    current: Connection | None = None
    gaps: list[tuple[float, float]] = field(default_factory=list)
    messages: list[dict[str, Any]] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    connections: int = 0
    _heard_at: float | None = None
    _closing: set[asyncio.Task[None]] = field(default_factory=set)

    def note_packet(self, now: float) -> None:
        if self._heard_at is not None:
            self.gaps.append((now, now - self._heard_at))
        self._heard_at = now

    def longest_gap(self, since: float) -> float:
        """Return the longest time without a packet that was over, or is not yet, after a moment."""
        last = self._heard_at if self._heard_at is not None else since
        return max([time.monotonic() - last, *(g for at, g in self.gaps if at >= since)])

    async def live(self) -> None:
        """Connect, and again whenever the node is lost or sends us elsewhere; until cancelled."""
        try:
            while True:
                if not await self._connect():
                    await asyncio.sleep(RETRY_S)
                    continue
                await until(self._is_to_go_on)
        finally:
            for task in self._closing:
                task.cancel()
            await asyncio.gather(*self._closing, return_exceptions=True)
            if self.current is not None:
                await self.current.close()

    def _is_to_go_on(self) -> bool:
        return self.current is not None and (self.current.is_silent or self.current.moved)

    async def _connect(self) -> bool:
        old, new = self.current, Connection(self)
        query = f"?resume={old.resume}" if old is not None else ""
        url = self.url if old is None else self.again_url
        try:
            async with asyncio.timeout(REQUEST_S + CONNECT_S):
                refused = await new.open(url, query)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            refused = type(error).__name__
        if refused:
            self.refusals.append(refused)
            await new.close()
            return False
        self.current = new
        self.connections += 1
        if old is not None:
            overlap_s = OVERLAP_S if self.teaches and not old.is_silent else 0.0
            task = asyncio.create_task(_close(old, overlap_s))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        return True


async def _close(connection: Connection, after_s: float) -> None:
    await asyncio.sleep(after_s)
    await connection.close()
