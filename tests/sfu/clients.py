"""aiortc as teacher and student, over WHIP and WHEP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import aioice.ice
import msgpack
from aiohttp.test_utils import TestClient
from aiortc import (
    RTCDataChannel,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack

from sfu.live import decode

aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]


class Client:
    """One peer connection and its session resource; `packets` counts what came, by kind."""

    def __init__(
        self, http: TestClient[Any, Any], path: str, account: str, *, with_channel: bool = True
    ) -> None:
        self.http = http
        self.path = path
        self.headers = {"X-Account": account}
        self.pc = RTCPeerConnection()
        self.packets: dict[str, int] = {"audio": 0, "video": 0}
        self.messages: list[dict[str, Any]] = []
        self.heard = asyncio.Event()
        self.location = ""
        self.resume = ""
        self.channel: RTCDataChannel
        if with_channel:
            self.channel = self.pc.createDataChannel("live")
            self.channel.on("message", self._hear)

    @classmethod
    def teacher(cls, http: TestClient[Any, Any], path: str) -> Client:
        client = cls(http, path, "teacher")
        client.pc.addTransceiver(VideoStreamTrack(), direction="sendonly")
        client.pc.addTransceiver(AudioStreamTrack(), direction="sendonly")
        return client

    @classmethod
    def student(
        cls,
        http: TestClient[Any, Any],
        path: str,
        account: str = "student",
        *,
        with_channel: bool = True,
    ) -> Client:
        client = cls(http, path, account, with_channel=with_channel)
        for kind in ("video", "audio"):
            receiver = client.pc.addTransceiver(kind, direction="recvonly").receiver
            client._count(receiver, kind)
        return client

    def offer_only(self, codec: str) -> None:
        """Leave every other codec out of the offer's video section; before `connect`."""
        known = RTCRtpSender.getCapabilities("video").codecs
        (video,) = [t for t in self.pc.getTransceivers() if t.kind == "video"]
        wanted = (f"video/{codec}", "video/rtx")
        video.setCodecPreferences([c for c in known if c.mimeType in wanted])

    @property
    def session_id(self) -> str:
        return self.location.rsplit("/", 1)[-1]

    async def connect(
        self, query: str = "", *, forge: Callable[[str], str] | None = None
    ) -> Client:
        """Offer and take the answer; `forge` changes the offer's text on its way."""
        await self.pc.setLocalDescription(await self.pc.createOffer())
        sdp = self.pc.localDescription.sdp
        if forge is not None:
            forged = forge(sdp)
            assert forged != sdp
            sdp = forged
        headers = {**self.headers, "Content-Type": "application/sdp"}
        async with self.http.post(self.path + query, data=sdp, headers=headers) as response:
            text = await response.text()
            assert response.status == 201, text
            self.location = response.headers["Location"]
            self.resume = response.headers["Lectern-Resume"]
        await self.pc.setRemoteDescription(RTCSessionDescription(text, "answer"))
        return self

    async def message(self, kind: str, limit_s: float = 5.0) -> dict[str, Any]:
        """Return the next message of a kind, the oldest one unread first."""
        async with asyncio.timeout(limit_s):
            while True:
                for message in self.messages:
                    if message["type"] == kind:
                        self.messages.remove(message)
                        return message
                self.heard.clear()
                await self.heard.wait()

    async def state(self, wanted: str, limit_s: float = 10.0) -> None:
        async with asyncio.timeout(limit_s):
            while self.pc.connectionState != wanted:
                await asyncio.sleep(0.02)

    async def media(self, kind: str, count: int, limit_s: float = 10.0) -> None:
        """Wait for so many packets of a kind."""
        async with asyncio.timeout(limit_s):
            while self.packets[kind] < count:
                await asyncio.sleep(0.02)

    async def leave(self, query: str = "") -> None:
        async with self.http.delete(self.location + query, headers=self.headers) as response:
            assert response.status == 204

    async def close(self) -> None:
        await self.pc.close()

    def mute(self) -> None:
        """Send no more media; the connection stays."""
        for sender in self.pc.getSenders():
            sender.replaceTrack(None)

    def vanish(self) -> None:
        """Stop existing for the network: no packet, no goodbye."""
        for transport in {t.sender.transport.transport for t in self.pc.getTransceivers()}:
            for protocol in transport._connection._protocols:
                protocol.transport.abort()

    def stop_checks(self) -> None:
        """Send no more consent checks (RFC 7675)."""
        for transport in {t.sender.transport.transport for t in self.pc.getTransceivers()}:
            consent = transport._connection._query_consent_task
            assert consent is not None
            consent.cancel()

    def _count(self, receiver: RTCRtpReceiver, kind: str) -> None:
        async def handle(packet: Any, arrival_time_ms: int) -> None:
            self.packets[kind] += 1

        receiver._handle_rtp_packet = handle  # type: ignore[method-assign]

    def _hear(self, data: bytes) -> None:
        message = decode(data)
        if message["type"] == "ping":
            self.channel.send(msgpack.packb({"type": "pong"}))
            return
        self.messages.append(message)
        self.heard.set()
