"""Thousands of sessions come and go: tasks, descriptors and objects are what they were."""

from __future__ import annotations

import asyncio
import gc
import os
import time

from aiortc import RTCDtlsTransport, RTCSctpTransport

from sfu.room import Room
from sfu.session import Session
from tests.sfu.clients import Client
from tests.sfu.conftest import Site
from tests.sfu.offers import an_opening
from tests.signaling.fake_control import LINK


def held_objects() -> dict[str, int]:
    gc.collect()
    kinds = (Session, Room, RTCDtlsTransport, RTCSctpTransport)
    objects = gc.get_objects()
    held = {kind.__name__: sum(isinstance(o, kind) for o in objects) for kind in kinds}
    # Connections that HTTP keeps alive have a task each on the server's side.
    tasks = (task.get_coro() for task in asyncio.all_tasks())
    held["tasks"] = sum("RequestHandler" not in repr(coroutine) for coroutine in tasks)
    return held


AT_ONCE = 8
# HTTP keeps a connection alive for each client that was there at once, with two ends in this process;
# how many were needed is chance. A leak would show once for each of the 48 that come.
KEPT_ALIVE_DESCRIPTORS_MAX = 2 * AT_ONCE


async def back_to(before: dict[str, int], descriptors: int, limit_s: float = 10.0) -> None:
    """Wait until no more is held than before, but for a few: a busy machine tidies up late."""
    deadline_s = time.monotonic() + limit_s
    while True:
        after = held_objects()
        after["descriptors"] = len(os.listdir("/proc/self/fd"))
        allowed = {**before, "descriptors": descriptors + KEPT_ALIVE_DESCRIPTORS_MAX}
        more = {k: n - allowed[k] for k, n in after.items() if n > allowed[k] + 3}
        if not more or time.monotonic() > deadline_s:
            assert more == {}
            return
        await asyncio.sleep(0.2)


async def test_sessions_that_nobody_came_for(site: Site) -> None:
    await site.control.until(lambda: bool(site.control.beats))
    before, descriptors = held_objects(), len(os.listdir("/proc/self/fd"))
    for turn in range(20):
        openings = [an_opening(class_id=f"class {turn}.{n % 10}") for n in range(150)]
        for opening in openings:
            site.node.open_session(opening)
        await asyncio.sleep(0)
        assert len(site.node.sessions) == 150 and len(site.node.rooms) == 10
        for number, opening in enumerate(openings):
            if number % 2:
                site.node.sessions[opening.session_id].end("left")
        site.node.drop_all("class_ended")
        await site.nothing_left(limit_s=20)
    await site.control.until(lambda: len(site.control.events) == 3000)
    assert len({e.session_id for e in site.control.events}) == 3000
    await asyncio.sleep(1.5)  # the core's statistics are a second old
    assert site.media.stats()["sessions"] == 1  # by which it answers probes
    assert site.media.stats()["rooms"] == 0
    await back_to(before, descriptors)


async def test_sessions_that_were_connected(site: Site) -> None:
    async def come_and_go(number: int) -> None:
        student = Client.student(site.http, f"/live/links/{LINK}/whep", f"student {number}")
        await student.connect()
        await student.message("hello", limit_s=30)
        if number % 2:
            await student.leave()
        await student.close()

    await asyncio.gather(*(come_and_go(n) for n in range(AT_ONCE)))
    await site.nothing_left(limit_s=20)
    await asyncio.sleep(0.2)
    before, descriptors = held_objects(), len(os.listdir("/proc/self/fd"))
    for turn in range(6):
        await asyncio.gather(*(come_and_go(turn * AT_ONCE + n) for n in range(AT_ONCE)))
        await site.nothing_left(limit_s=20)
    await asyncio.sleep(0.2)
    await back_to(before, descriptors)
