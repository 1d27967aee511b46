"""One client misbehaves on the data channel: its class goes on, and the node keeps its bounds."""

from __future__ import annotations

import asyncio
import random
import string
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgpack
import pytest

from sfu.association import STREAMS_MAX
from sfu.comments import MESSAGE_BYTES_MAX, TEXT_CHARS_MAX, Author
from sfu.live import BUFFERED_BYTES_MAX
from sfu.session import Session
from tests.sfu.clients import Client
from tests.sfu.conftest import Site
from tests.sfu.test_comments_reach_everybody import heard, say

Soon = Callable[[Callable[[], bool]], Awaitable[None]]
GROWTH_MB_MAX = 16.0  # of the whole test process: node, clients and all


def rss_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


async def company(site: Site) -> tuple[Client, Client, Client]:
    """Return the one who misbehaves, and two who only want to talk."""
    bad = await site.student(account="bad")
    good, other = await site.student(), await site.student(account="other")
    for client in (bad, good, other):
        await client.message("hello")
    return bad, good, other


async def talk_goes_on(good: Client, other: Client, text: str = "as if nothing were") -> None:
    began_s = time.monotonic()
    say(good, text)
    await hears(other, text)
    assert time.monotonic() - began_s < 2.0


async def hears(client: Client, text: str) -> None:
    """Wait for a comment; those before it are taken as well."""
    while text not in [item["text"] for item in (await client.message("comments"))["items"]]:
        pass


async def test_a_message_of_a_megabyte_in_fragments_is_not_hoarded(site: Site, soon: Soon) -> None:
    bad, good, other = await company(site)
    session = site.node.sessions[bad.session_id]
    before_mb = rss_mb()
    assert bad.pc.sctp is not None
    bad.pc.sctp._remote_max_message_size = 0  # as a client that heeds no a=max-message-size
    bad.channel.send(b"\xc4" * 2**20)
    await talk_goes_on(good, other)
    # It leaves the window that it was given, or is stuck behind it: it never gets through.
    await asyncio.sleep(1.0)
    association = session._association
    if association is not None:
        held = sum(
            len(chunk.user_data)
            for stream in association._inbound_streams.values()
            for chunk in stream.reassembly
        )
        assert held <= 2 * 128 * 1024
    await talk_goes_on(other, good, "still")
    # The client's own megabyte, in chunks, is in this process as well.
    assert rss_mb() - before_mb < GROWTH_MB_MAX


async def test_channels_by_the_thousand_are_refused(site: Site, soon: Soon) -> None:
    bad, good, other = await company(site)
    session = site.node.sessions[bad.session_id]
    for number in range(2000):
        bad.pc.createDataChannel(f"channel {number}")
    await talk_goes_on(good, other)
    association = session._association
    assert association is not None
    await soon(lambda: len(association._data_channels) >= STREAMS_MAX)
    for number in range(4):
        await talk_goes_on(other, good, f"still {number}")
        assert len(association._data_channels) <= STREAMS_MAX
        assert len(association._inbound_streams) <= STREAMS_MAX + 1
        await asyncio.sleep(0.3)
    assert session.state == "connected" and bad.channel.readyState == "open"
    say(bad, "I am still here")
    await hears(good, "I am still here")


async def test_an_offer_that_takes_no_messages_holds_up_nobody(site: Site) -> None:
    good, other = await site.student(), await site.student(account="other")
    for client in (good, other):
        await client.message("hello")

    def forge(sdp: str) -> str:
        lines = [x for x in sdp.split("\r\n") if not x.startswith("a=max-message-size")]
        place = next(n for n, x in enumerate(lines) if x.startswith("a=sctp-port"))
        lines.insert(place + 1, "a=max-message-size:8")
        return "\r\n".join(lines)

    small = await site.student(account="small", forge=forge)
    await small.state("connected")
    await talk_goes_on(good, other)
    await talk_goes_on(other, good, "and back")
    assert site.node.sessions[small.session_id].state == "connected"
    assert not small.messages


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<img src=x onerror=alert(1)>", "<img src=x onerror=alert(1)>"),
        ("a\x00b\x1b[31mc\x07", "ab[31mc"),
        ("\u202egnp.exe\u2066", "gnp.exe"),
        ("**bold** [x](javascript:1)", "**bold** [x](javascript:1)"),
    ],
)
async def test_what_looks_like_more_is_text_for_everybody(
    site: Site, text: str, shown: str
) -> None:
    bad, good, other = await company(site)
    say(bad, text)
    for client in (bad, good, other):
        (item,) = await heard(client, 1)
        assert item["text"] == shown


async def test_garbage_costs_its_sender_only(site: Site, soon: Soon) -> None:
    bad, good, other = await company(site)
    session = site.node.sessions[bad.session_id]
    for number in range(60):
        bad.channel.send(bytes([number]) * 1000)
        bad.channel.send(msgpack.packb({"type": "comment", "ref": 1, "text": {"a": [number]}}))
    await talk_goes_on(good, other)
    await soon(lambda: session.ignored_messages >= 60)
    assert session.state == "connected"


def held_bytes(session: Session) -> int:
    """Return what the node keeps for a reader: before SCTP, in it, and on the wire unacknowledged."""
    association = session._association
    assert association is not None
    waiting = sum(len(data) for _, _, data in association._data_channel_queue)
    chunks = (*association._outbound_queue, *association._sent_queue)
    return waiting + sum(len(chunk.user_data) for chunk in chunks)


@pytest.mark.parametrize("how", ["acknowledges nothing", "closes its window"])
async def test_a_reader_that_is_stuck_holds_up_nobody_and_costs_a_bounded_amount(
    site: Site, how: str
) -> None:
    bad, good, other = await company(site)
    assert bad.pc.sctp is not None

    async def nothing() -> None:
        return

    if how == "acknowledges nothing":
        bad.pc.sctp._send_sack = nothing  # type: ignore[method-assign]
    else:
        bad.pc.sctp._advertised_rwnd = 0
    session = site.node.sessions[bad.session_id]
    room = next(iter(site.node.rooms.values()))
    before_mb, slowest_s, most, dice = rss_mb(), 0.0, 0, random.Random(1)
    teacher = Author("2", "Tess", "publisher")
    for number in range(40):
        for part in range(20):
            # Nothing that packs well.
            text = "".join(dice.choices(string.ascii_letters + string.digits, k=TEXT_CHARS_MAX))
            now_s = float(number * 1000 + part)
            room.comments.add(teacher, text, now_s=now_s, wall_us=number * 1000 + part + 1)
        room._said = True
        room._tell_soon()
        began_s = time.monotonic()
        assert len(await heard(good, 20)) == 20
        slowest_s = max(slowest_s, time.monotonic() - began_s)
        most = max(most, held_bytes(session))
    assert slowest_s < 2.0
    assert most <= BUFFERED_BYTES_MAX + 2 * MESSAGE_BYTES_MAX
    if how == "acknowledges nothing":
        assert most > BUFFERED_BYTES_MAX / 2, "the reader was not stuck"
    assert rss_mb() - before_mb < GROWTH_MB_MAX
    await talk_goes_on(other, good)
