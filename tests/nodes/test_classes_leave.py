"""A class leaves a node make before break: told on the live channel, the teacher first, and it goes on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from sfu import moves
from sfu.internal import Refused
from sfu.moves import EPOCH_MAX
from signaling.node_client import NodeClient, NodeRefused
from tests.sfu.conftest import Site, site, soon
from tests.sfu.offers import an_opening
from tests.signaling.fake_control import CLASS_ID
from wire.beat import BeatAnswer, MovedClass, Revocation
from wire.session import MoveClass

__all__ = ["site", "soon"]

Soon = Callable[[Callable[[], bool]], Awaitable[None]]


async def test_the_teacher_is_told_first_and_all_go_on(site: Site, soon: Soon) -> None:
    teacher, student = await site.teacher(), await site.student()
    await teacher.message("hello")
    await student.message("hello")
    await student.media("audio", 5)
    site.node.move_class(str(CLASS_ID), 7)
    told = await teacher.message("moved", limit_s=1.0)
    assert told["stays_ms"] == moves.STAYS_S * 1000
    assert not [m for m in student.messages if m["type"] == "moved"]
    with pytest.raises(Refused, match="draining"):
        site.node.open_session(an_opening(class_id=str(CLASS_ID)))
    # The teacher has been admitted elsewhere: now the others, and nobody is cut off.
    session = site.node.sessions[teacher.session_id]
    revoked = Revocation(session.session_id, session.fence, "replaced")
    site.control.answer = BeatAnswer(cursor=0, revoked=(revoked,))
    await student.message("moved", limit_s=1.0)
    before = student.packets["audio"]
    await student.media("audio", before + 20)
    assert teacher.session_id in site.node.sessions
    # It lingers, but not for long.
    await asyncio.wait_for(_gone(site, teacher.session_id), moves.LINGER_S + 2)
    assert student.session_id in site.node.sessions


async def _gone(site: Site, session_id: str) -> None:
    while session_id in site.node.sessions:
        await asyncio.sleep(0.02)


async def test_who_does_not_follow_is_let_go(
    site: Site, soon: Soon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moves, "STAYS_S", 1.0)
    student = await site.student()
    await student.message("hello")
    site.control.answer = BeatAnswer(cursor=0, moved_classes=(MovedClass(str(CLASS_ID), 3),))
    await student.message("moved", limit_s=3.0)
    await site.control.until(lambda: site.control.ended(student.session_id) is not None)
    ended = site.control.ended(student.session_id)
    assert ended is not None and ended.reason == "node_drained"
    await site.nothing_left()


async def test_a_class_that_comes_back_stays(site: Site) -> None:
    student = await site.student()
    await student.message("hello")
    site.node.move_class(str(CLASS_ID), 3)
    again = replace(an_opening(class_id=str(CLASS_ID)), placement=3)
    site.node.open_session(again)
    await student.message("moved")
    await student.close()
    await asyncio.wait_for(_gone(site, student.session_id), 10)
    assert again.session_id in site.node.sessions


async def test_a_draining_node_empties_and_stops(site: Site) -> None:
    student = await site.student()
    await student.message("hello")
    site.control.answer = BeatAnswer(cursor=0, draining=True)
    await student.message("moved", limit_s=4.0)
    with pytest.raises(Refused, match="draining"):
        site.node.open_session(an_opening(class_id="another"))
    assert not site.node_task.done()
    began = time.monotonic()
    await student.close()
    await asyncio.wait_for(asyncio.shield(site.node_task), 5)
    assert time.monotonic() - began < 5
    assert site.control.beats[-1].leaving and site.control.beats[-1].draining
    assert site.control.ended(student.session_id) is not None


async def test_signaling_can_say_that_a_class_has_gone(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    student = await site.student()
    await student.message("hello")
    nodes = NodeClient()
    await nodes.move_class(site.seats.nodes[0], str(CLASS_ID), MoveClass(EPOCH_MAX))
    await student.message("moved")
    thief = replace(site.seats.nodes[0], secret="another")
    with pytest.raises(NodeRefused):
        await nodes.move_class(thief, str(CLASS_ID), MoveClass(EPOCH_MAX))
    assert "refused: not by our secret" in caplog.text
    await nodes.close()
