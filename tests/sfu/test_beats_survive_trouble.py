"""Registration, outbox, digest, fence: the node and a control that misbehaves or is gone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from sfu import beats
from sfu._core import Media
from sfu.node import Node
from tests.sfu.conftest import Site, config_of, running
from tests.sfu.control_server import ControlServer
from tests.sfu.offers import an_opening
from wire.beat import BeatAnswer, digest_of

Soon = Callable[[Callable[[], bool]], Awaitable[None]]


async def test_a_node_waits_for_its_control_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="sfu")
    control = ControlServer(f"{tmp_path}/control")
    media = Media(host="127.0.0.1", port=0)
    node = Node(config_of(tmp_path, control), media)
    try:
        async with running(node):
            await asyncio.sleep(1.2)
            assert not node.registered
            await control.start()
            await control.until(lambda: bool(control.beats))
            (said,) = [r for r in caplog.records if r.levelno == logging.WARNING]
            assert "does not answer" in said.getMessage()
            (registered,) = control.registered
            assert registered.addresses == (("127.0.0.1", media.port),)
            assert registered.internal_url == f"unix:{tmp_path}/node"
    finally:
        media.close()
        await control.stop()


async def test_a_beat_comes_every_two_seconds_and_at_once_for_an_end(site: Site) -> None:
    site.node.open_session(opening := an_opening())
    before = len(site.control.beats)
    loop = asyncio.get_running_loop()
    started = loop.time()
    await site.control.until(lambda: len(site.control.beats) >= before + 2)
    assert 1.5 < loop.time() - started < 4.5
    started = loop.time()
    site.node.sessions[opening.session_id].end("left")
    await site.control.until(lambda: site.control.ended(opening.session_id) is not None)
    assert loop.time() - started < 0.5
    assert site.control.beats[-1].load.sessions == 0


async def test_ends_wait_for_a_control_that_cannot_write_and_are_told_once(site: Site) -> None:
    site.control.answer = BeatAnswer(cursor=0, accepted=False, hold=True)
    site.node.open_session(opening := an_opening())
    site.node.sessions[opening.session_id].end("left")

    def told() -> list[tuple[int, int]]:
        return [(b.sequence, b.events[0].ms_ago) for b in site.control.beats if b.events]

    await site.control.until(lambda: len(told()) >= 2)
    sequences, ages = zip(*told(), strict=True)
    assert list(sequences) == sorted(set(sequences))  # each attempt has its own number
    assert ages[-1] > ages[0] + 1000  # and counts its age anew
    assert site.node.registered
    site.control.answer = BeatAnswer(cursor=0)
    await site.control.until(lambda: site.control.ended(opening.session_id) is not None)
    count = len(site.control.beats)
    await site.control.until(lambda: len(site.control.beats) > count)
    assert not site.control.beats[-1].events


async def test_ends_survive_a_restart_of_control(site: Site) -> None:
    site.node.open_session(opening := an_opening())
    await site.control.stop()
    site.node.sessions[opening.session_id].end("disconnected")
    await asyncio.sleep(1.0)
    await site.control.start()
    await site.control.until(lambda: site.control.ended(opening.session_id) is not None)
    event = site.control.ended(opening.session_id)
    assert event is not None and event.ms_ago >= 1000
    assert len(site.control.registered) == 1


async def test_without_a_control_the_node_fences_itself(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beats, "FENCE_S", 2.5)
    student = await site.student()
    await student.message("hello")
    await site.control.stop()
    await asyncio.sleep(1.0)
    assert student.session_id in site.node.sessions
    await asyncio.sleep(2.5)
    await site.nothing_left()
    async with site.http.post(
        student.path, data=b"", headers={**student.headers, "Content-Type": "application/sdp"}
    ) as response:
        assert response.status == 400
    with pytest.raises(Exception, match="wrong_node"):
        site.node.open_session(an_opening())
    await site.control.start()
    await site.control.until(lambda: site.control.ended(student.session_id) is not None)
    site.node.open_session(an_opening())


async def test_hold_is_an_answer_and_keeps_the_media_flowing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beats, "FENCE_S", 2.5)
    site.control.answer = BeatAnswer(cursor=0, accepted=False, hold=True)
    site.node.open_session(opening := an_opening())
    await asyncio.sleep(4.0)
    assert opening.session_id in site.node.sessions


@pytest.mark.parametrize("status", [401, 409, 410])
async def test_a_refused_boot_drops_everything_and_begins_anew(site: Site, status: int) -> None:
    student = await site.student()
    await student.message("hello")
    earlier, secret = site.node.node_id, site.node.secret
    site.control.status = status
    await site.control.until(lambda: len(site.control.registered) == 2)
    site.control.status = 200
    await site.nothing_left()
    assert site.node.node_id != earlier and site.node.secret != secret
    assert site.control.registered[1].node_id == site.node.node_id
    beats_before = len(site.control.beats)
    await site.control.until(lambda: len(site.control.beats) > beats_before)
    assert site.control.beats[-1].sequence == 1


@pytest.mark.long
async def test_a_mismatch_is_healed_by_a_whole_exchange(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beats, "DIGEST_INTERVAL_S", 0.5)
    openings = [an_opening() for _ in range(3)]
    for opening in openings:
        site.node.open_session(opening)
    expected = digest_of([(o.session_id, o.fence) for o in openings])
    await site.control.until(lambda: site.control.beats[-1].digest == expected)
    site.control.answer = replace(site.control.answer, send_sessions=True)
    await site.control.until(lambda: site.control.beats[-1].sessions is not None)
    sessions = site.control.beats[-1].sessions
    assert sessions is not None
    assert {(s.session_id, s.connected) for s in sessions} == {
        (o.session_id, False) for o in openings
    }
    count = len(site.control.beats)
    await site.control.until(lambda: len(site.control.beats) > count)
    assert site.control.beats[-1].sessions is None


async def test_more_ends_than_a_beat_carries_follow_at_once(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beats, "EVENTS_PER_BEAT_MAX", 10)
    openings = [an_opening(user_id=str(uuid4())) for _ in range(35)]
    for opening in openings:
        site.node.open_session(opening)
    site.node.drop_all("left")
    await site.control.until(lambda: len(site.control.events) == 35, limit_s=7)
    assert [e.session_id for e in site.control.events] == [o.session_id for o in openings]
    assert max(len(b.events) for b in site.control.beats) == 10
