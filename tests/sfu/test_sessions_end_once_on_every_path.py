"""Every way a session can end: one event with its reason, and nothing left on the node."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

import aioice.stun
import pytest

from sfu import session as session_module
from tests.sfu.conftest import Site
from tests.sfu.offers import OFFERS
from tests.signaling.fake_control import CLASS_ID, LINK
from wire.beat import BeatAnswer, EndedClass, Revocation
from wire.session import CloseSession

Soon = Callable[[Callable[[], bool]], Awaitable[None]]
OFFER = (OFFERS / "chromium_viewer.sdp").read_bytes()
WHEP = f"/live/links/{LINK}/whep"


async def ended(site: Site, session_id: str, reason: str) -> int:
    """Wait for the end's event, assert that it is the only one; return its ms_ago."""
    await site.control.until(lambda: site.control.ended(session_id) is not None)
    await site.nothing_left()
    await asyncio.sleep(0.1)
    events = [e for e in site.control.events if e.session_id == session_id and e.kind == "ended"]
    assert [e.reason for e in events] == [reason]
    return events[0].ms_ago


async def post_offer(site: Site) -> tuple[str, str]:
    """Post an offer that nobody stands behind; return its session's id and the answer."""
    headers = {"X-Account": "student", "Content-Type": "application/sdp"}
    async with site.http.post(WHEP, data=OFFER, headers=headers) as response:
        assert response.status == 201
        return response.headers["Location"].rsplit("/", 1)[1], await response.text()


def check(answer: str, port: int) -> socket.socket:
    """Send a valid STUN check under the answer's credentials; return the socket."""
    found = dict(re.findall(r"a=ice-(ufrag|pwd):(\S+)", answer))
    request = aioice.stun.Message(
        message_method=aioice.stun.Method.BINDING, message_class=aioice.stun.Class.REQUEST
    )
    request.attributes["USERNAME"] = f"{found['ufrag']}:theirs"
    request.attributes["PRIORITY"] = 1
    request.attributes["ICE-CONTROLLING"] = 1
    request.attributes["USE-CANDIDATE"] = None
    request.add_message_integrity(found["pwd"].encode())
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.sendto(bytes(request), ("127.0.0.1", port))
    return sock


async def test_nobody_comes(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "REACHABLE_S", 0.2)
    session_id, _ = await post_offer(site)
    await ended(site, session_id, "never_connected")


async def test_a_path_without_a_handshake(
    site: Site, monkeypatch: pytest.MonkeyPatch, soon: Soon
) -> None:
    monkeypatch.setattr(session_module, "HANDSHAKE_S", 0.3)
    session_id, answer = await post_offer(site)
    with check(answer, site.media.port):
        await soon(lambda: site.node.sessions[session_id].state == "connecting")
        await ended(site, session_id, "handshake_failed")


@pytest.mark.parametrize("junk", [b"", b"\x16", b"\x16\xfe\xff" + b"\x00" * 60, b"\x19" * 1500])
async def test_junk_instead_of_a_handshake(
    site: Site, monkeypatch: pytest.MonkeyPatch, soon: Soon, junk: bytes
) -> None:
    monkeypatch.setattr(session_module, "HANDSHAKE_S", 0.3)
    session_id, answer = await post_offer(site)
    with check(answer, site.media.port) as sock:
        await soon(lambda: site.node.sessions[session_id].state == "connecting")
        for _ in range(200):
            sock.sendto(junk, ("127.0.0.1", site.media.port))
        await ended(site, session_id, "handshake_failed")


async def test_another_certificate_than_the_offers(site: Site) -> None:
    def forge(sdp: str) -> str:
        return re.sub(r"(fingerprint:sha-256 )..:..", r"\g<1>00:11", sdp)

    student = await site.student(forge=forge)
    await ended(site, student.session_id, "handshake_failed")
    assert not site.control.connected(student.session_id)


async def test_leaving(site: Site) -> None:
    student = await site.student()
    await student.state("connected")
    await student.leave()
    await ended(site, student.session_id, "left")
    await student.state("closed")  # told by DTLS, without waiting for silence


async def test_a_closing_page(site: Site) -> None:
    student = await site.student()
    await student.state("connected")
    await student.leave("?reason=pagehide")
    await ended(site, student.session_id, "pagehide")


async def test_leaving_before_anything_was_connected(site: Site) -> None:
    session_id, _ = await post_offer(site)
    location = f"/live/sessions/{site.node.node_id}/{session_id}"
    async with site.http.delete(location, headers={"X-Account": "student"}) as response:
        assert response.status == 204
    await ended(site, session_id, "left")


async def test_a_peer_that_closes_its_connection(site: Site) -> None:
    student = await site.student()
    await student.message("hello")
    await student.pc.close()
    assert await ended(site, student.session_id, "disconnected") < 1000


async def test_a_client_that_vanishes_is_gone_within_ten_seconds(site: Site) -> None:
    student = await site.student()
    await student.message("hello")
    student.vanish()
    async with asyncio.timeout(10):
        ms_ago = await ended(site, student.session_id, "disconnected")
    # The end lies at the last sign of life, not where it was noticed.
    assert 3000 < ms_ago < 9000


async def test_a_client_without_checks_or_media_stays_by_its_pongs(site: Site) -> None:
    student = await site.student()  # nobody teaches: no media, and so no RTCP
    await student.message("hello")
    student.stop_checks()
    await asyncio.sleep(9.5)
    assert site.control.ended(student.session_id) is None
    assert site.node.sessions[student.session_id].state == "connected"


async def test_revoked_by_control(site: Site) -> None:
    student = await site.student()
    await student.message("hello")
    fence = site.node.sessions[student.session_id].fence
    older = Revocation(student.session_id, fence - 1, "replaced")
    site.control.answer = BeatAnswer(cursor=1, revoked=(older,))
    await site.control.until(lambda: len(site.control.beats) >= 3)
    assert student.session_id in site.node.sessions
    site.control.answer = BeatAnswer(cursor=2, revoked=(replace(older, fence=fence),))
    await ended(site, student.session_id, "replaced")
    await student.message("replaced")
    assert site.control.beats[-1].cursor == 2


@pytest.mark.parametrize("by", ["class", "session"])
async def test_who_was_gone_while_the_node_stood_still_ended_then(site: Site, by: str) -> None:
    student = await site.student()
    await student.message("hello")
    fence = site.node.sessions[student.session_id].fence
    student.vanish()
    # Longer than any silence that is waited for; nothing else runs meanwhile, but the media thread.
    time.sleep(9)  # noqa: ASYNC251
    if by == "class":
        site.node.end_class(str(CLASS_ID), 0)
    else:
        site.node.close_session(student.session_id, CloseSession(fence, "replaced"))
    # The end lies where the student was last heard, not where the node could say so.
    assert await ended(site, student.session_id, "disconnected") >= 8900


@pytest.mark.parametrize("by", ["beat", "request"])
async def test_the_class_ends(site: Site, by: str) -> None:
    teacher = await site.teacher()
    student = await site.student()
    await student.message("hello")
    await teacher.message("hello")
    if by == "beat":
        site.control.answer = BeatAnswer(cursor=1, ended_classes=(EndedClass(str(CLASS_ID), 0),))
    else:
        site.node.end_class(str(CLASS_ID), 0)
    for client in (teacher, student):
        await ended(site, client.session_id, "class_ended")
        await client.message("ended")


async def test_the_node_is_stopped(site: Site) -> None:
    student = await site.student()
    await student.message("hello")
    site.node_task.cancel()
    await asyncio.wait([site.node_task])
    await ended(site, student.session_id, "node_drained")
    await student.message("moved")


async def test_a_second_tab_replaces_the_first(site: Site) -> None:
    first = await site.student()
    await first.message("hello")
    second = await site.student()
    await first.message("replaced")
    await site.control.until(lambda: site.control.ended(first.session_id) is not None)
    event = site.control.ended(first.session_id)
    assert event is not None and event.reason == "replaced"
    await second.message("hello")
    assert site.node.rooms[str(CLASS_ID)].count == 1


async def test_a_continued_session_does_not_end(site: Site) -> None:
    first = await site.student()
    await first.message("hello")
    second = await site.student(f"?resume={first.resume}")
    assert second.session_id == first.session_id
    await second.message("hello")
    await first.message("replaced")
    fence = site.node.sessions[second.session_id].fence
    await site.control.until(
        lambda: any(e.kind == "connected" and e.fence == fence for e in site.control.events)
    )
    assert site.control.ended(first.session_id) is None


async def test_a_teachers_second_session_takes_over_once_it_is_connected(site: Site) -> None:
    first = await site.teacher()
    student = await site.student()
    await student.media("video", 10)
    second = await site.teacher()
    await second.message("hello")
    await first.message("replaced")
    await first.close()
    seen = student.packets["video"]
    await student.media("video", seen + 20)
    assert site.control.ended(student.session_id) is None


async def test_a_hostile_association_ends_its_session_alone(site: Site, soon: Soon) -> None:
    bystander = await site.student()
    await bystander.message("hello")
    site.seats.calls.clear()
    hostile = await site.student(account="other")
    await hostile.message("hello")
    # A second DCEP OPEN on the same stream: aiortc's SCTP asserts.
    sctp = hostile.pc.sctp
    assert sctp is not None and hostile.channel.id is not None
    await sctp._send(hostile.channel.id, 50, b"\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")
    await site.control.until(lambda: site.control.ended(hostile.session_id) is not None)
    assert bystander.session_id in site.node.sessions
