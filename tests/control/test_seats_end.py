"""Leaving, grace, and sessions that never came to be."""

from __future__ import annotations

from tests.control.people import School, code_of


async def expire(school: School) -> None:
    """Let every grace and every wait for a first packet be over, and sweep."""
    await school.sql.execute(
        "UPDATE seat SET grace_until = grace_until - interval '1 h',"
        " confirm_by = confirm_by - interval '1 h'"
    )
    await school.sweep()


async def test_leaving_frees_the_seat_at_once_and_again_does_nothing(school: School) -> None:
    node = await school.node()
    _, _, link = await school.live_class(capacity=1)
    one, two = await school.people(2)
    admission = await school.joined(one, link, node)
    for _ in range(2):
        await school.plane.leave(one, admission.session_id, "left")
    await school.plane.admit(two, link_token=link)
    (segment,) = await school.segments(one)
    assert segment["reason"] == "left" and not segment["estimated"]
    assert [r.reason for r in (await node.beat()).revoked] == ["left"]
    await school.assert_invariants()


async def test_nobody_ends_somebody_elses_session(school: School) -> None:
    node = await school.node()
    _, _, link = await school.live_class()
    one, two = await school.people(2)
    admission = await school.joined(one, link, node)
    await school.plane.leave(two, admission.session_id, "left")
    assert (await school.segments(one))[0]["left_at"] is None
    attempt = school.plane.session_of(two, admission.session_id)
    assert await code_of(attempt) == "not_found"


async def test_a_closed_page_keeps_its_place_for_a_while(school: School) -> None:
    node = await school.node()
    teacher, class_id, link = await school.live_class(capacity=1)
    one, two = await school.people(2)
    admission = await school.joined(one, link, node)
    await school.plane.leave(one, admission.session_id, "pagehide")
    assert await code_of(school.plane.admit(two, link_token=link)) == "class_full"
    shown = await school.plane._classes.show(teacher, class_id)
    assert (shown["used"], shown["present"]) == (1, 0)
    await school.sweep()
    again = await school.plane.admit(one, class_id=class_id)
    await node.connected(again)
    assert [s["reason"] for s in await school.segments(one)] == ["pagehide", None]
    await school.plane.leave(one, again.session_id, "pagehide")
    await expire(school)
    await school.plane.admit(two, link_token=link)
    await school.assert_invariants()


async def test_a_session_that_never_connects_is_swept_and_not_counted(school: School) -> None:
    teacher, class_id, link = await school.live_class(capacity=1)
    one, two = await school.people(2)
    await school.plane.admit(one, link_token=link)
    await school.sweep()
    assert await code_of(school.plane.admit(two, link_token=link)) == "class_full"
    await expire(school)
    (segment,) = await school.segments(one)
    assert (segment["reason"], segment["connected_at"]) == ("never_connected", None)
    await school.plane.admit(two, link_token=link)
    assert (await school.plane._classes.show(teacher, class_id))["attendees"] == 0
    await school.assert_invariants()


async def test_a_connect_that_was_held_up_undoes_never_connected(school: School) -> None:
    node = await school.node()
    _, _, link = await school.live_class()
    person = await school.person()
    admission = await school.plane.admit(person, link_token=link)
    await school.plane.bind_session(admission, node.node_id)
    await expire(school)
    answer = await node.connected(admission, ms_ago=60_000)
    assert str(admission.session_id) in [r.session_id for r in answer.revoked]
    (segment,) = await school.segments(person)
    assert segment["connected_at"] is not None and segment["reason"] == "disconnected"
    await school.assert_invariants()


async def test_a_resume_that_never_connects_ends_where_the_old_one_did(school: School) -> None:
    node = await school.node()
    _, class_id, link = await school.live_class()
    person = await school.person()
    first = await school.joined(person, link, node)
    await school.plane.admit(person, class_id=class_id, resume_of=first.session_id)
    seat = await school.seat(person)
    assert seat is not None
    await expire(school)
    (segment,) = await school.segments(person)
    assert (segment["reason"], segment["left_at"]) == ("disconnected", seat["silent_since"])
    assert await school.seat(person) is None
    await school.assert_invariants()


async def test_an_admission_that_no_node_opens_leaves_nothing(school: School) -> None:
    _, _, link = await school.live_class(capacity=1)
    one, two = await school.people(2)
    admission = await school.plane.admit(one, link_token=link)
    await school.plane.abandon(admission, "no_capacity")
    await school.plane.admit(two, link_token=link)
    await school.assert_invariants()


async def test_a_regular_keeps_the_place_when_a_node_cannot_open_the_session(
    school: School,
) -> None:
    node = await school.node()
    _, class_id, link = await school.live_class(capacity=1)
    person = await school.person()
    await school.joined(person, link, node)
    admission = await school.plane.admit(person, class_id=class_id)
    await school.plane.abandon(admission, "no_capacity")
    await school.plane.admit(person, class_id=class_id)
    await school.assert_invariants()


async def test_an_expired_place_does_not_block_before_the_sweeper_comes(school: School) -> None:
    node = await school.node()
    _, _, link_one = await school.live_class()
    _, _, link_two = await school.live_class()
    person = await school.person()
    admission = await school.joined(person, link_one, node)
    await school.plane.leave(person, admission.session_id, "pagehide")
    await school.sql.execute("UPDATE seat SET grace_until = grace_until - interval '1 h'")
    await school.plane.admit(person, link_token=link_two)
    await school.assert_invariants()


async def test_a_binding_that_comes_too_late_is_refused(school: School) -> None:
    await school.node()
    _, class_id, link = await school.live_class()
    person = await school.person()
    admission = await school.plane.admit(person, link_token=link)
    address = await school.plane.place(class_id)
    await school.plane.leave(person, admission.session_id, "left")
    attempt = school.plane.bind_session(admission, address.node_id)
    assert await code_of(attempt) == "replaced"
