"""Media stays in the native core, and a viewer is sent what the teacher sent and nothing more."""

from __future__ import annotations

import asyncio

import pytest

from sfu.session import Session
from tests.sfu.conftest import Site

# The fixed header, the extension's head, MID, transport-wide sequence and their alignment.
HEADER_BYTES_MAX = 12 + 4 + 12


async def settled(site: Site, session: int, name: str) -> int:
    """Return a counter of a session once a second passes without its moving."""
    last = -1
    async with asyncio.timeout(15):
        while True:
            counters = site.media.session_stats(session) or {}
            value = counters.get(name, 0)
            if value == last and value > 0:
                return value
            last = value
            # The counters are about a second old at the most.
            await asyncio.sleep(1.5)


async def test_only_dtls_reaches_python_and_bytes_out_are_bytes_in(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bytes] = []
    feed = Session.feed

    def count(session: Session, datagram: bytes) -> None:
        seen.append(datagram)
        feed(session, datagram)

    monkeypatch.setattr(Session, "feed", count)
    students = [await site.student(account=f"student{n}") for n in range(3)]
    for student in students:
        await student.state("connected")
    teacher = await site.teacher()
    await students[0].media("audio", 100)
    await students[0].media("video", 30)
    publisher = site.node.sessions[teacher.session_id].number
    teacher.mute()
    sent = await settled(site, publisher, "payload_bytes_in")
    for student in students:
        number = site.node.sessions[student.session_id].number
        assert await settled(site, number, "payload_bytes_out") == sent
        counters = site.media.session_stats(number) or {}
        assert 0 < counters["header_bytes_out"] <= HEADER_BYTES_MAX * counters["packets_out"]
    node = site.media.stats()
    assert node["media_packets_in"] > 130
    assert node["media_packets_out"] > 390
    # The counters are a moment old, and pings go on.
    assert node["dtls_datagrams_in"] <= len(seen) < node["media_packets_in"]
    assert all(20 <= datagram[0] <= 63 for datagram in seen), "RFC 7983: DTLS and nothing else"
