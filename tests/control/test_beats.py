"""What nodes report is written once; what they must hear reaches them."""

from __future__ import annotations

from datetime import timedelta

import asyncpg
import pytest

from control.beats import Refused
from control.ids import uuid7
from tests.control.people import CLUSTER_SECRET, School, code_of, event
from wire.beat import (
    Beat,
    BeatAnswer,
    HeldSession,
    Load,
    Register,
    Registered,
    SessionEvent,
    digest_of,
)
from wire.codec import pack, unpack


async def test_a_node_registers_and_beats_over_http(client: object) -> None:
    post = client.post  # type: ignore[attr-defined]
    node_id = str(uuid7())
    words = pack(Register(node_id, "s" * 32, "http://h:1", (("10.0.0.1", 7000),), "1"))
    async with post("/internal/nodes", data=words) as response:
        assert response.status == 401
    cluster = {"Authorization": f"Bearer {CLUSTER_SECRET}"}
    for _ in range(2):  # a lost answer is asked for again
        async with post("/internal/nodes", data=words, headers=cluster) as response:
            assert response.status == 200
            assert unpack(Registered, await response.read()).lease_s == 10
    thief = pack(Register(node_id, "t" * 32, "http://h:1", (("10.0.0.1", 7000),), "1"))
    async with post("/internal/nodes", data=thief, headers=cluster) as response:
        assert response.status == 409
    beat = pack(Beat(node_id, 1, 0, Load(0, 0, 0, 0.0, 0.0)))
    for secret, status in (("s" * 32, 200), ("t" * 32, 401), (CLUSTER_SECRET, 401)):
        headers = {"Authorization": f"Bearer {secret}"}
        async with post("/internal/beat", data=beat, headers=headers) as response:
            assert response.status == status
            if status == 200:
                assert unpack(BeatAnswer, await response.read()).accepted
    async with post("/internal/beat", data=b"\xc1garbage", headers=cluster) as response:
        assert response.status == 400


async def test_only_who_connected_is_an_attendee_and_present(school: School) -> None:
    node = await school.node()
    teacher, class_id, link = await school.live_class()
    one, two = await school.people(2)
    await school.plane.admit(two, link_token=link)
    admission = await school.joined(one, link, node)
    for _ in range(2):
        await node.connected(admission)
    shown = await school.plane._classes.show(teacher, class_id)
    assert (shown["attendees"], shown["present"], shown["used"]) == (1, 1, 2)
    await node.ended(admission, "left")
    await school.joined(one, link, node)
    shown = await school.plane._classes.show(teacher, class_id)
    assert (shown["attendees"], shown["present"], shown["used"]) == (1, 1, 2)
    await school.assert_invariants()


async def test_an_end_is_written_once_at_the_time_the_node_saw(school: School) -> None:
    node = await school.node()
    _, _, link = await school.live_class()
    person = await school.person()
    admission = await school.joined(person, link, node)
    await school.sql.execute(
        "UPDATE attendance SET joined_at = joined_at - interval '1 min',"
        " connected_at = connected_at - interval '1 min'"
    )
    now = await school.sql.fetchval("SELECT clock_timestamp()")
    await node.ended(admission, "disconnected", ms_ago=7000)
    (segment,) = await school.segments(person)
    assert segment["reason"] == "disconnected" and not segment["estimated"]
    assert abs(segment["left_at"] - (now - timedelta(seconds=7))) < timedelta(seconds=1)
    seat = await school.seat(person)
    assert seat is not None and seat["grace_until"] > now
    await node.ended(admission, "disconnected", ms_ago=9000)
    assert await school.segments(person) == [segment]
    await school.assert_invariants()


async def test_an_end_is_clamped_between_connecting_and_now(school: School) -> None:
    node = await school.node()
    _, _, link = await school.live_class()
    person = await school.person()
    admission = await school.joined(person, link, node)
    await node.ended(admission, "disconnected", ms_ago=3_600_000)
    (segment,) = await school.segments(person)
    assert segment["left_at"] == segment["connected_at"] >= segment["joined_at"]


async def test_who_connected_and_left_before_the_beat_did_attend(school: School) -> None:
    node = await school.node()
    _, class_id, link = await school.live_class()
    person = await school.person()
    admission = await school.plane.admit(person, link_token=link)
    await school.plane.bind_session(admission, node.node_id)
    await school.plane.leave(person, admission.session_id, "left")
    await node.beat(event("connected", admission, 60_000), event("ended", admission, 0, "left"))
    (segment,) = await school.segments(person)
    assert segment["connected_at"] is not None
    attendees = await school.sql.fetchval("SELECT attendees FROM class WHERE class_id=$1", class_id)
    assert attendees == 1
    await school.assert_invariants()


async def test_late_truth_moves_an_estimated_end_only_earlier(school: School) -> None:
    node = await school.node()
    _, _, link = await school.live_class()
    person = await school.person()
    first = await school.joined(person, link, node)
    await school.sql.execute(
        "UPDATE attendance SET joined_at = joined_at - interval '1 min',"
        " connected_at = connected_at - interval '1 min'"
    )
    await school.plane.admit(person, link_token=link)
    (before, _) = await school.segments(person)
    assert before["estimated"]
    await node.ended(first, "disconnected", ms_ago=5000)
    (after, _) = await school.segments(person)
    assert after["left_at"] < before["left_at"]
    assert (after["reason"], after["estimated"]) == ("replaced", False)
    await node.ended(first, "disconnected", ms_ago=9000)
    assert (await school.segments(person))[0] == after
    await school.assert_invariants()


async def test_the_end_of_a_class_does_not_hide_that_somebody_was_gone_before(
    school: School,
) -> None:
    node = await school.node()
    teacher, class_id, link = await school.live_class()
    gone, there = await school.people(2)
    of_gone, of_there = [await school.joined(person, link, node) for person in (gone, there)]
    await school.sql.execute(
        "UPDATE attendance SET joined_at = joined_at - interval '1 min',"
        " connected_at = connected_at - interval '1 min'"
    )
    await school.plane._classes.end(teacher, class_id)
    (before,) = await school.segments(gone)
    assert before["reason"] == "class_ended"
    await node.ended(of_gone, "disconnected", ms_ago=18_000)
    (after,) = await school.segments(gone)
    assert before["left_at"] - after["left_at"] > timedelta(seconds=17)
    assert (after["reason"], after["estimated"]) == ("class_ended", False)
    await node.ended(of_gone, "disconnected", ms_ago=30_000)
    assert await school.segments(gone) == [after], "the node has had its word"
    await node.ended(of_there, "class_ended", ms_ago=0)
    (confirmed,) = await school.segments(there)
    assert (confirmed["left_at"], confirmed["estimated"]) == (before["left_at"], False)
    await school.assert_invariants()


async def test_a_beat_that_waited_on_its_way_counts_from_its_sending(school: School) -> None:
    node = await school.node()
    _, _, link = await school.live_class()
    waited, doubtful = await school.people(2)
    sessions = [await school.joined(person, link, node) for person in (waited, doubtful)]
    await school.sql.execute(
        "UPDATE attendance SET joined_at = joined_at - interval '1 h',"
        " connected_at = connected_at - interval '1 h'"
    )
    heard = await node.beat()
    now = await school.sql.fetchval("SELECT clock_timestamp()")
    assert heard.at is not None and abs(heard.at - now.timestamp()) < 1
    ends = [event("ended", admission, 2000, "disconnected") for admission in sessions]
    await node.beat(ends[0], sent_at=heard.at - 14)
    (segment,) = await school.segments(waited)
    assert abs(segment["left_at"] - now + timedelta(seconds=16)) < timedelta(seconds=1)
    # A clock that is ahead of ours, or an hour behind, is none.
    await node.beat(ends[1], sent_at=heard.at + 3600)
    (segment,) = await school.segments(doubtful)
    assert abs(segment["left_at"] - now + timedelta(seconds=2)) < timedelta(seconds=1)
    for nonsense in (heard.at - 3600, float("nan"), float("-inf"), 0.0):
        assert (await node.beat(sent_at=nonsense)).accepted
    await school.assert_invariants()


async def test_an_end_of_an_older_incarnation_ends_nothing(school: School) -> None:
    node = await school.node()
    _, class_id, link = await school.live_class()
    person = await school.person()
    first = await school.joined(person, link, node)
    again = await school.plane.admit(person, class_id=class_id, resume_of=first.session_id)
    await node.connected(again)
    await node.ended(first, "disconnected")
    (segment,) = await school.segments(person)
    assert segment["left_at"] is None
    seat = await school.seat(person)
    assert seat is not None and seat["grace_until"] is None
    await school.assert_invariants()


async def test_a_revocation_repeats_until_the_cursor_has_passed_it(school: School) -> None:
    node = await school.node()
    _, _, link = await school.live_class()
    person = await school.person()
    first = await school.joined(person, link, node)
    await node.beat()
    await school.plane.admit(person, link_token=link)
    before = node.cursor
    for _ in range(3):  # the answers are lost
        node.cursor = before
        answer = await node.beat()
        assert [r.session_id for r in answer.revoked] == [str(first.session_id)]
    assert (await node.beat()).revoked == ()
    assert await school.sql.fetchval("SELECT count(*) FROM node_notice") == 0


async def test_a_revocation_committed_late_is_not_skipped(
    school: School, database_url: str
) -> None:
    node = await school.node()
    late = await asyncpg.connect(database_url)
    held = late.transaction()
    await held.start()
    session = uuid7()
    insert = (
        "INSERT INTO node_notice (node_id, session_id, fence, reason) VALUES ($1, $2, 1, 'left')"
    )
    await late.execute(insert, node.node_id, session)
    other = uuid7()
    await school.sql.execute(insert, node.node_id, other)  # a higher number, committed before
    seen = [r.session_id for r in (await node.beat()).revoked]
    assert seen == [str(other)]
    await held.commit()
    assert str(session) in [r.session_id for r in (await node.beat()).revoked]
    await node.beat()
    assert (await node.beat()).revoked == ()
    await late.close()


async def test_the_nodes_of_an_ended_class_hear_of_it(school: School) -> None:
    node = await school.node()
    teacher, class_id, link = await school.live_class()
    await school.joined(await school.person(), link, node)
    await school.plane._classes.end(teacher, class_id)
    (ended,) = (await node.beat()).ended_classes
    assert ended.class_id == str(class_id)
    assert (await node.beat()).ended_classes == ()


async def test_a_session_without_a_seat_is_revoked_in_the_same_answer(school: School) -> None:
    node = await school.node()
    _, _, link = await school.live_class()
    person = await school.person()
    old = await school.plane.admit(person, link_token=link)
    await school.plane.admit(person, link_token=link)
    answer = await node.connected(old)
    assert str(old.session_id) in [r.session_id for r in answer.revoked]
    stray = SessionEvent("connected", str(uuid7()), 1, 0)
    assert [r.session_id for r in (await node.beat(stray)).revoked] == [stray.session_id]


async def test_a_digest_that_differs_leads_to_a_full_exchange_that_heals(school: School) -> None:
    node = await school.node()
    _, class_id, link = await school.live_class()
    kept, lost, unheard = await school.people(3)
    a = await school.joined(kept, link, node)
    b = await school.joined(lost, link, node)
    c = await school.plane.admit(unheard, link_token=link)
    sessions = [(str(x.session_id), x.fence) for x in (a, b)]
    assert not (await node.beat(digest=digest_of(sessions))).send_sessions
    everything = [*sessions, (str(c.session_id), c.fence)]
    assert not (await node.beat(digest=digest_of(everything))).send_sessions
    assert (await node.beat(digest=digest_of(sessions[:1]))).send_sessions
    zombie = str(uuid7())
    held = (
        HeldSession(str(a.session_id), a.fence, True),
        HeldSession(str(c.session_id), c.fence, True),
        HeldSession(zombie, 1, True),
    )
    answer = await node.beat(sessions=held)
    assert [r.session_id for r in answer.revoked if r.session_id == zombie] == [zombie]
    (segment,) = await school.segments(lost)
    assert (segment["reason"], segment["estimated"]) == ("disconnected", True)
    (segment,) = await school.segments(unheard)
    assert segment["connected_at"] is not None
    attendees = await school.sql.fetchval("SELECT attendees FROM class WHERE class_id=$1", class_id)
    assert attendees == 3
    await school.assert_invariants()


async def test_a_beat_that_was_overtaken_changes_nothing(school: School) -> None:
    node = await school.node()
    _, _, link = await school.live_class()
    person = await school.person()
    await node.beat()
    await node.beat()
    await school.joined(person, link, node)
    held_until = await school.sql.fetchval("SELECT lease_until FROM node")
    for sequence in (0, 2):  # overtaken on its way; the latest one once more
        node.sequence = sequence
        with pytest.raises(Refused) as refused:
            await node.beat(sessions=())
        assert refused.value.status == 412
    assert await school.sql.fetchval("SELECT lease_until FROM node") == held_until
    (segment,) = await school.segments(person)
    assert segment["left_at"] is None


async def test_the_host_publishes_again_and_the_earlier_session_is_revoked(school: School) -> None:
    node = await school.node()
    teacher, class_id, _ = await school.live_class()
    first = await school.plane.admit_host(teacher, class_id)
    await school.plane.bind_session(first, (await school.plane.place(class_id)).node_id)
    await node.connected(first)
    second = await school.plane.admit_host(teacher, class_id)
    assert [r.session_id for r in (await node.beat()).revoked] == [str(first.session_id)]
    await node.ended(first, "replaced")
    await node.connected(second)
    assert (await school.plane.session_of(teacher, second.session_id))[0] == second
    await school.plane.leave(teacher, second.session_id, "left")
    seat = await school.seat(teacher)
    assert seat is not None and seat["is_host"] and seat["session_id"] is None
    attempt = school.plane.session_of(teacher, second.session_id)
    assert await code_of(attempt) == "not_found"
    await school.assert_invariants()


async def test_a_beat_of_a_dead_or_unknown_node_is_refused(school: School) -> None:
    node = await school.node()
    with pytest.raises(Refused) as refused:
        await node.beat(secret="x" * 32)
    assert refused.value.status == 401
    await school.sql.execute("UPDATE node SET reaped = true")
    with pytest.raises(Refused) as refused:
        await node.beat()
    assert refused.value.status == 410
    with pytest.raises(Refused) as refused:
        await node.register()
    assert refused.value.status == 409


async def test_without_the_database_nodes_are_told_to_hold(school: School) -> None:
    node = await school.node()
    await school.plane._database.pool.close()
    answer = await node.beat()
    assert answer.hold and not answer.accepted
