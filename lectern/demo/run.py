"""The demo's course: a class, a screen with sound, students until Ctrl-C."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import signal
import sys
import urllib.parse
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import aioice.ice
import aiortc

from lectern.demo.client import ClassOver, DemoError, Teacher
from lectern.demo.melody import Melody
from lectern.demo.screen import Screen
from lectern.settings import Settings

TITLE = "Demo: what a live class looks like"
CAPACITY = 100
CONNECT_TIMEOUT_S = 15.0
RETRY_DELAY_S = 1.0  # a node that died is back, or replaced by another one, within seconds
COUNT_INTERVAL_S = 2.0
# A node sends something several times a second, also when nothing is shown; ICE itself would take half a
# minute to notice that it is gone (RFC 7675 section 5.1).
SILENCE_S = 3.0
SILENCE_INTERVAL_S = 0.5


def main(settings: Settings) -> int:
    """Run until Ctrl-C; 1 when the server is not there or refuses."""
    logging.basicConfig(level=logging.ERROR)
    try:
        asyncio.run(_run(settings))
    except DemoError as error:
        print(f"lectern: {error}", file=sys.stderr)
        return 1
    return 0


async def _run(settings: Settings) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    _gather_where_the_server_is(settings.server)
    async with Teacher(settings.server, settings.data) as teacher:
        await teacher.sign_in()
        class_ = await teacher.open_class(TITLE, CAPACITY)
        counting = asyncio.create_task(_tell_count(teacher, class_["id"]))
        try:
            await _teach(teacher, class_, stopped)
        finally:
            counting.cancel()
            with suppress(asyncio.CancelledError):
                await counting
            with suppress(DemoError):
                await teacher.end_class(class_["id"])
    print("The class has ended.")


async def _teach(teacher: Teacher, class_: dict[str, str], stopped: asyncio.Event) -> None:
    """Publish, and again after a loss; the first time has to work."""
    first = True
    while not stopped.is_set():
        connection, lost = _connection()
        resource = None
        try:
            resource = await _publish(teacher, class_["id"], connection)
            if first:
                print(f"The class is live. Open this link as a student:\n\n  {class_['link']}\n")
                print("Ctrl-C ends the class.", flush=True)
                first = False
            await _first_of(stopped.wait(), lost.wait(), _silence(connection))
        except ClassOver as error:
            print(f"lectern: {error}", file=sys.stderr)
            return
        except DemoError as error:
            if first:
                raise
            print(f"lectern: {error}; trying again", file=sys.stderr)
        finally:
            if resource is not None:
                await teacher.unpublish(resource)
            await connection.close()
        if not stopped.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(stopped.wait(), RETRY_DELAY_S)


def _connection() -> tuple[aiortc.RTCPeerConnection, asyncio.Event]:
    """Return a connection that sends the demo's screen and sound, and the event of its loss."""
    # No STUN server: the node is reached directly, and nobody else is to be asked.
    connection = aiortc.RTCPeerConnection(aiortc.RTCConfiguration(iceServers=[]))
    video = connection.addTransceiver(Screen(), direction="sendonly")
    connection.addTransceiver(Melody(), direction="sendonly")
    codecs = aiortc.RTCRtpSender.getCapabilities("video").codecs
    video.setCodecPreferences(
        [codec for codec in codecs if codec.mimeType in ("video/VP8", "video/rtx")]
    )
    lost = asyncio.Event()

    @connection.on("connectionstatechange")
    def changed() -> None:
        if connection.connectionState in ("failed", "closed"):
            lost.set()

    return connection, lost


async def _publish(teacher: Teacher, class_id: str, connection: aiortc.RTCPeerConnection) -> str:
    """Offer, answer, connect; return the session's resource."""
    await connection.setLocalDescription(await connection.createOffer())
    published = await teacher.publish(class_id, connection.localDescription.sdp)
    answer = aiortc.RTCSessionDescription(sdp=published.answer, type="answer")
    await connection.setRemoteDescription(answer)
    deadline = asyncio.get_running_loop().time() + CONNECT_TIMEOUT_S
    while connection.connectionState != "connected":
        if connection.connectionState in ("failed", "closed") or (
            asyncio.get_running_loop().time() > deadline
        ):
            await teacher.unpublish(published.resource)
            raise DemoError("the media port of the server cannot be reached by UDP")
        await asyncio.sleep(0.05)
    return published.resource


async def _tell_count(teacher: Teacher, class_id: str) -> None:
    """Say how many watch, whenever that changes."""
    before: int | None = 0
    while True:
        await asyncio.sleep(COUNT_INTERVAL_S)
        with suppress(DemoError):
            now = await teacher.present(class_id)
            if now is not None and now != before:
                print(f"{now} watching", flush=True)
                before = now


async def _silence(connection: aiortc.RTCPeerConnection) -> None:
    """Return when nothing has come from the node for SILENCE_S."""
    loop = asyncio.get_running_loop()
    before, heard_at = -1, loop.time()
    while loop.time() - heard_at < SILENCE_S:
        await asyncio.sleep(SILENCE_INTERVAL_S)
        report = await connection.getSenders()[0].getStats()
        received = max(
            (getattr(stats, "packetsReceived", 0) for stats in report.values()), default=0
        )
        if received != before:
            before, heard_at = received, loop.time()


async def _first_of(*waits: Coroutine[Any, Any, object]) -> None:
    tasks = [asyncio.create_task(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _gather_where_the_server_is(server: str) -> None:
    """Let ICE use the loopback address for a server on this machine, which aioice leaves out."""
    host = urllib.parse.urlsplit(server).hostname or ""
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    if loopback:
        aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]
