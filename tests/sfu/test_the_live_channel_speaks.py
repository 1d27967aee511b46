"""The data channel `live`, as docs/protocol.md describes it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import msgpack
import pytest

from sfu import live
from sfu.comments import Comments
from sfu.live import decode
from sfu.presence import NAMED_PEOPLE_MAX
from sfu.refusals import Refusals
from sfu.room import Room
from tests.sfu.conftest import Site

Soon = Callable[[Callable[[], bool]], Awaitable[None]]


async def test_the_count_follows_those_who_are_connected(site: Site) -> None:
    first = await site.student()
    await first.message("hello")
    second = await site.student(account="other")
    hello = await second.message("hello")
    assert hello["count"] == 2
    while (await first.message("count"))["count"] != 2:
        pass
    await second.leave()
    while (await first.message("count"))["count"] != 1:
        pass


async def test_a_storm_of_changes_is_told_a_few_times(site: Site) -> None:
    student = await site.student()
    await student.message("hello")
    room = next(iter(site.node.rooms.values()))
    student.messages.clear()
    for number in range(1000):
        room.connected(_Member(number))  # type: ignore[arg-type]
        if number % 100 == 0:
            await asyncio.sleep(0.05)
    while (await student.message("count"))["count"] != 1001:
        pass
    # Names while the class is small, then the count alone.
    assert len(student.messages) <= 10
    joined = [m for m in student.messages if m["type"] == "presence"]
    assert sum(len(m.get("joined", [])) for m in joined) <= NAMED_PEOPLE_MAX


class _Member:
    """A session as a room sees it, that counts what it is told."""

    state, publishes = "connected", False

    def __init__(self, number: int) -> None:
        self.session_id = f"{number}"
        self.opening = SimpleNamespace(user_id=f"{number}", name=f"Member {number}")
        self.told = 0

    def send_state(self, kind: str, data: bytes) -> None:
        self.told += 1

    def send(self, data: bytes) -> bool:
        return True

    def tell_comments(self) -> None: ...


@pytest.mark.parametrize(("size", "per_s"), [(10, 10), (2000, 3)])
async def test_a_large_class_is_told_less_often(size: int, per_s: int) -> None:
    room = Room("class", 1)
    members = [_Member(number) for number in range(size)]
    room.sessions = {m.session_id: m for m in members}  # type: ignore[misc]
    began_s = time.monotonic()
    for number in range(size, size + 100):
        room.connected(_Member(number))  # type: ignore[arg-type]
        await asyncio.sleep(0.02)
    took_s = time.monotonic() - began_s
    room.close()
    assert max(m.told for m in members) - min(m.told for m in members) <= 1
    for member in members:
        assert 2 <= member.told <= took_s * per_s + 1


async def test_members_hear_which_slots_flow(site: Site) -> None:
    student = await site.student()
    hello = await student.message("hello")
    assert hello["slots"] == {"video": False, "mic": False, "screen_audio": False}
    teacher = await site.teacher()

    async def slots(**wanted: bool) -> None:
        async with asyncio.timeout(10):
            while True:
                message = await student.message("slots", limit_s=10)
                if all(message[slot] is flows for slot, flows in wanted.items()):
                    return

    await slots(video=True, mic=True, screen_audio=False)
    await teacher.leave()
    await slots(video=False, mic=False)


async def test_a_paused_share_is_told_by_the_teacher_until_a_picture_flows(
    site: Site, soon: Soon
) -> None:
    teacher, student = await site.teacher(), await site.student()
    assert (await student.message("hello"))["share"] == {"paused": False}
    pause = {"type": "pause_share", "paused": True}
    student.channel.send(msgpack.packb(pause))
    session = site.node.sessions[student.session_id]
    await soon(lambda: session.ignored_messages == 1)
    teacher.channel.send(msgpack.packb(pause | {"paused": "yes"}))
    teacher.channel.send(msgpack.packb(pause))
    assert await student.message("share") == {"type": "share", "paused": True}
    late = await site.student(account="other")
    assert (await late.message("hello"))["share"] == {"paused": True}
    # A teacher's other program that knows no pause sends a picture.
    room = next(iter(site.node.rooms.values()))
    room.slot_flows("video", False)
    room.slot_flows("video", True)
    assert await student.message("share") == {"type": "share", "paused": False}


@pytest.mark.parametrize(
    "junk",
    [
        b"",
        b"\xc1",
        b"\x01",
        msgpack.packb({"no": "type"}),
        msgpack.packb({"type": 7}),
        msgpack.packb({"type": "unheard of"}),
        msgpack.packb({"type": "pong", "x": "y" * 20_000}),
        "text",
        b"\x91" * 5000,
        b"\xdd\xff\xff\xff\xff",
    ],
)
async def test_what_is_no_message_is_ignored_and_counted(
    site: Site, soon: Soon, junk: bytes | str
) -> None:
    student = await site.student()
    await student.message("hello")
    session = site.node.sessions[student.session_id]
    assert student.pc.sctp is not None
    student.pc.sctp._remote_max_message_size = 0  # as a client that heeds no a=max-message-size
    student.channel.send(junk)
    await soon(lambda: session.ignored_messages == 1)
    student.channel.send(msgpack.packb({"type": "pong"}))
    await asyncio.sleep(0.2)
    assert session.state == "connected" and session.ignored_messages == 1


async def test_a_flood_is_ignored_beyond_its_allowance(site: Site, soon: Soon) -> None:
    student = await site.student()
    await student.message("hello")
    for _ in range(500):
        student.channel.send(msgpack.packb({"type": "pong"}))
    session = site.node.sessions[student.session_id]
    await soon(lambda: session.ignored_messages > 200)
    assert session.state == "connected"


async def test_other_channels_are_closed_and_the_first_one_stays(site: Site, soon: Soon) -> None:
    student = await site.student()
    await student.message("hello")
    others = [
        student.pc.createDataChannel("chat"),
        student.pc.createDataChannel("live"),
        student.pc.createDataChannel("live", ordered=False),
        student.pc.createDataChannel("live", maxRetransmits=1),
    ]
    await soon(lambda: all(c.readyState in ("closing", "closed") for c in others))
    assert student.channel.readyState == "open"
    assert not any(m["type"] == "hello" for m in student.messages)


class _Channel:
    """A channel whose reader takes nothing."""

    label, ordered, maxRetransmits, maxPacketLifeTime = "live", True, None, None
    readyState = "open"

    def __init__(self) -> None:
        self.bufferedAmount = 0
        self.sent: list[bytes] = []

    def send(self, data: bytes) -> None:
        self.bufferedAmount += len(data)
        self.sent.append(data)

    def on(self, *arguments: Any) -> None: ...


class _Association:
    def on(self, *arguments: Any) -> None: ...


def test_a_slow_reader_gets_the_newest_of_each_state_when_it_has_room() -> None:
    channel = _Channel()
    one = live.Live(
        _Association(),  # type: ignore[arg-type]
        greeting=lambda: {"type": "hello"},
        log=Comments(),
        on_message=print,
        refusals=Refusals(),
    )
    one._take(channel)  # type: ignore[arg-type]
    for number in range(20_000):
        one.send_state("count", live.encode({"type": "count", "count": number}))
        one.send_state("slots", live.encode({"type": "slots", "video": number % 2 == 0}))
    assert channel.bufferedAmount < live.BUFFERED_BYTES_MAX + 100
    assert not one.send(b"ping")
    told = len(channel.sent)
    channel.bufferedAmount = 0
    one.drain()
    newest = [decode(data) for data in channel.sent[told:]]
    assert {"type": "count", "count": 19_999} in newest
    assert {"type": "slots", "video": False} in newest
    assert len(newest) == 2
