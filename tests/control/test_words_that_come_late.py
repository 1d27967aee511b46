"""What was said about an older state of the world changes nothing in the newer one."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import asyncpg
import pytest

from control import ClassEnd, beats
from tests.control.people import School
from wire.beat import HeldSession

LATER = (
    "UPDATE attendance SET joined_at = joined_at - interval '1 min',"
    " connected_at = connected_at - interval '1 min'"
)


async def test_a_node_ends_and_connects_only_what_is_on_it(school: School) -> None:
    _, _, link = await school.live_class()
    one, other = await school.node(), await school.node()
    person = await school.person()
    admission = await school.plane.admit(person, link_token=link)
    # The first node did not answer in time, so the session was opened on the second as well.
    await school.plane.bind_session(admission, one.node_id)
    await school.plane.bind_session(admission, other.node_id)
    answer = await one.connected(admission)
    assert [r.session_id for r in answer.revoked] == [str(admission.session_id)]
    (segment,) = await school.segments(person)
    assert segment["connected_at"] is None
    await other.connected(admission)
    await one.ended(admission, "never_connected")
    (segment,) = await school.segments(person)
    assert segment["connected_at"] is not None and segment["left_at"] is None
    await other.ended(admission, "disconnected")
    assert (await school.segments(person))[0]["reason"] == "disconnected"
    await school.assert_invariants()


async def test_a_fence_is_never_given_twice(school: School) -> None:
    node = await school.node()
    teacher, class_id, link = await school.live_class()
    person = await school.person()
    fences = []
    for _ in range(2):
        admission = await school.joined(person, link, node)
        resumed = await school.plane.admit(
            person, class_id=class_id, resume_of=admission.session_id
        )
        fences += [admission.fence, resumed.fence]
        await school.plane.leave(person, resumed.session_id, "left")
        fences.append((await school.plane.admit_host(teacher, class_id)).fence)
    assert fences == sorted(set(fences))


@pytest.mark.parametrize("reason", ["never_connected", "handshake_failed"])
async def test_a_resume_that_its_node_gives_up_ends_where_the_old_one_did(
    school: School, reason: str
) -> None:
    node = await school.node()
    _, class_id, link = await school.live_class()
    person = await school.person()
    first = await school.joined(person, link, node)
    again = await school.plane.admit(person, class_id=class_id, resume_of=first.session_id)
    once_more = await school.plane.admit(person, class_id=class_id, resume_of=again.session_id)
    await school.plane.bind_session(once_more, node.node_id)
    await school.sql.execute(
        "UPDATE seat SET confirm_by = confirm_by - interval '31 s',"
        " silent_since = silent_since - interval '31 s'"
    )
    await school.sql.execute(LATER)
    resumed_at = await school.sql.fetchval("SELECT silent_since FROM seat WHERE NOT is_host")
    await node.ended(once_more, reason)
    (segment,) = await school.segments(person)
    assert (segment["reason"], segment["left_at"]) == ("disconnected", resumed_at)
    assert segment["estimated"]
    # It had its 30 s: the place is not kept for longer.
    await school.sweep()
    assert await school.seat(person) is None
    await school.assert_invariants()


@pytest.mark.parametrize("by", ["class", "new tab"])
async def test_what_was_not_seen_since_its_resume_counts_to_the_resume(
    school: School, by: str
) -> None:
    node = await school.node()
    teacher, class_id, link = await school.live_class()
    person = await school.person()
    first = await school.joined(person, link, node)
    await school.plane.admit(person, class_id=class_id, resume_of=first.session_id)
    await school.sql.execute("UPDATE seat SET silent_since = silent_since - interval '20 s'")
    await school.sql.execute(LATER)
    seat = await school.seat(person)
    assert seat is not None
    if by == "class":
        await school.plane._classes.end(teacher, class_id)
    else:
        await school.plane.admit(person, link_token=link)
    segment = (await school.segments(person))[0]
    assert segment["left_at"] == seat["silent_since"] and segment["estimated"]


async def test_word_of_an_end_spares_who_came_after_the_reopening(school: School) -> None:
    node = await school.node()
    teacher, class_id, link = await school.live_class()
    person = await school.person()
    before = await school.joined(person, link, node)
    await school.plane._classes.end(teacher, class_id)
    await school.plane._classes.reopen(teacher, class_id)
    after = await school.plane.admit(person, link_token=link)
    (ended,) = (await node.beat()).ended_classes
    assert before.epoch <= ended.epoch < after.epoch


async def test_an_end_is_told_to_the_nodes_at_once(school: School) -> None:
    told: list[ClassEnd] = []
    school.plane.when_class_ends(told.append)
    node = await school.node()
    teacher, class_id, link = await school.live_class()
    admission = await school.joined(await school.person(), link, node)
    for _ in range(2):
        await school.plane._classes.end(teacher, class_id)
    (end,) = told
    assert [n.node_id for n in end.nodes] == [node.node_id]
    assert (end.class_id, end.epoch) == (class_id, admission.epoch + 1)  # placed meanwhile


async def test_an_old_set_of_sessions_ends_nothing_that_came_later(school: School) -> None:
    node = await school.node()
    _, _, link = await school.live_class()
    person = await school.person()
    await school.joined(person, link, node)
    said = beats._Said(node.node_id, await school.now())
    # The check of its number passed, and then it stood still while the node beat again.
    await node.beat()
    await school.plane._beats._reconcile(said, node.sequence - 1, (), {})
    assert (await school.segments(person))[0]["left_at"] is None
    await school.plane._beats._reconcile(said, node.sequence, (), {})
    assert (await school.segments(person))[0]["reason"] == "disconnected"


async def test_a_wait_for_a_lock_does_not_move_an_end(school: School, database_url: str) -> None:
    node = await school.node()
    _, class_id, link = await school.live_class()
    person = await school.person()
    admission = await school.joined(person, link, node)
    await school.sql.execute(LATER)
    said_at = await school.now()
    blocker = await asyncpg.connect(database_url)
    held = blocker.transaction()
    await held.start()
    await blocker.execute("SELECT FROM class WHERE class_id = $1 FOR UPDATE", class_id)
    beat = asyncio.create_task(node.ended(admission, "disconnected", 5000))
    await asyncio.sleep(1.0)
    await held.commit()
    await blocker.close()
    assert (await beat).accepted
    (segment,) = await school.segments(person)
    late = segment["left_at"] - (said_at - timedelta(seconds=5))
    assert abs(late) < timedelta(seconds=0.5)


async def test_a_database_that_stands_still_is_said_to_hold_in_time(
    school: School, database_url: str
) -> None:
    node = await school.node()
    blocker = await asyncpg.connect(database_url)
    held = blocker.transaction()
    await held.start()
    await blocker.execute("LOCK TABLE node")
    began = asyncio.get_running_loop().time()
    answers = [await node.beat(sessions=(HeldSession("x", 1, True),)) for _ in range(2)]
    assert all(a.hold and not a.accepted for a in answers)
    # A node gives an attempt up after 2.5 s, and itself after 8 s without an answer.
    assert asyncio.get_running_loop().time() - began < 2 * 2.4
    await held.commit()
    await blocker.close()
    assert (await node.beat()).accepted


async def test_a_binding_to_a_node_that_died_meanwhile_is_tried_again(school: School) -> None:
    node, other = await school.node(), await school.node()
    _, _, link = await school.live_class()
    person = await school.person()
    admission = await school.plane.admit(person, link_token=link)
    await school.plane.bind_session(admission, node.node_id)
    await school.sql.execute(
        "UPDATE node SET lease_until = clock_timestamp() - interval '1 s' WHERE node_id = $1",
        node.node_id,
    )
    await school.reap()
    with pytest.raises(Exception, match="try again"):
        await school.plane.bind_session(admission, other.node_id)


async def test_a_silence_that_was_held_up_counts_although_the_class_has_ended(
    school: School,
) -> None:
    node = await school.node()
    teacher, class_id, link = await school.live_class()
    silent, there = await school.people(2)
    first = await school.joined(silent, link, node)
    second = await school.joined(there, link, node)
    await school.sql.execute(LATER)
    ended = await school.plane._classes.end(teacher, class_id)
    await node.ended(first, "disconnected", 20_000)
    await node.ended(second, "class_ended")
    (segment,) = await school.segments(silent)
    early = (ended["ended_at"] - segment["left_at"]).total_seconds()
    assert 19 < early < 21 and not segment["estimated"]
    (segment,) = await school.segments(there)
    assert segment["left_at"] == ended["ended_at"] and not segment["estimated"]
