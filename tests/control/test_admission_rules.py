"""Who gets a seat and who does not."""

from __future__ import annotations

import asyncio

from control import Admission
from tests.control.people import School, code_of, codes_of


async def test_exactly_capacity_is_seated_out_of_twice_as_many(school: School) -> None:
    _, class_id, link = await school.live_class(capacity=150)
    people = await school.people(300)
    admitted, codes = await codes_of([school.plane.admit(p, link_token=link) for p in people])
    assert len(admitted) == 150
    assert codes == ["class_full"] * 150
    assert await school.sql.fetchval("SELECT used FROM class WHERE class_id=$1", class_id) == 150
    await school.assert_invariants()


async def test_one_person_gets_one_seat_out_of_many_parallel_joins(school: School) -> None:
    person = await school.person()
    links = [(await school.live_class())[2] for _ in range(40)]
    admitted, codes = await codes_of([school.plane.admit(person, link_token=x) for x in links])
    assert len(admitted) == 1
    assert codes == ["active_elsewhere"] * 39
    await school.assert_invariants()


async def test_parallel_takeovers_leave_one_seat(school: School) -> None:
    person = await school.person()
    links = [(await school.live_class())[2] for _ in range(20)]
    admitted, codes = await codes_of(
        [school.plane.admit(person, link_token=x, takeover=True) for x in links]
    )
    assert set(codes) <= {"try_again"}
    assert admitted
    assert await school.sql.fetchval("SELECT sum(used) FROM class") == 1
    await school.assert_invariants()


async def test_the_owner_never_joins_the_own_class(school: School) -> None:
    teacher, class_id, link = await school.live_class()
    assert await code_of(school.plane.admit(teacher, link_token=link)) == "own_class"
    await school.plane._classes.end(teacher, class_id)
    assert await code_of(school.plane.admit(teacher, link_token=link)) == "own_class"


async def test_a_host_cannot_take_over_out_of_the_own_live_class(school: School) -> None:
    teacher, _, _ = await school.live_class()
    _, _, link = await school.live_class()
    attempt = school.plane.admit(teacher, link_token=link, takeover=True)
    assert await code_of(attempt) == "active_elsewhere"
    await school.assert_invariants()


async def test_a_second_tab_replaces_the_first(school: School) -> None:
    node = await school.node()
    _, _, link = await school.live_class()
    person = await school.person()
    first = await school.joined(person, link, node)
    second = await school.plane.admit(person, link_token=link)
    assert second.session_id != first.session_id
    assert second.fence > first.fence
    old, new = await school.segments(person)
    assert (old["reason"], new["left_at"]) == ("replaced", None)
    answer = await node.beat()
    assert [(r.session_id, r.fence, r.reason) for r in answer.revoked] == [
        (str(first.session_id), first.fence, "replaced")
    ]
    await school.assert_invariants()


async def test_two_tabs_at_once_are_one_after_the_other(school: School) -> None:
    _, _, link = await school.live_class()
    person = await school.person()
    admitted, codes = await codes_of(
        [school.plane.admit(person, link_token=link) for _ in range(10)]
    )
    assert (len(admitted), codes) == (10, [])
    assert len({a.fence for a in admitted}) == 10
    assert [s["reason"] for s in await school.segments(person)].count(None) == 1
    await school.assert_invariants()


async def test_resume_keeps_the_session_and_replaced_is_final(school: School) -> None:
    node = await school.node()
    _, class_id, link = await school.live_class()
    person = await school.person()
    first = await school.joined(person, link, node)
    again = await school.plane.admit(person, class_id=class_id, resume_of=first.session_id)
    assert (again.session_id, again.fence) == (first.session_id, first.fence + 1)
    other_tab = await school.plane.admit(person, class_id=class_id)
    attempt = school.plane.admit(person, class_id=class_id, resume_of=first.session_id)
    assert await code_of(attempt) == "replaced"
    seat = await school.seat(person)
    assert seat is not None and seat["session_id"] == other_tab.session_id
    await school.assert_invariants()


async def test_a_teachers_page_that_comes_back_late_takes_the_class_from_no_other(
    school: School,
) -> None:
    node = await school.node()
    teacher, class_id, _ = await school.live_class()
    publish = school.plane.admit_host

    async def connects(host: Admission) -> None:
        await school.plane.bind_session(host, node.node_id)
        await node.connected(host)

    first = await publish(teacher, class_id)
    await connects(first)
    again = await publish(teacher, class_id, resume_of=first.session_id)
    # An answer that was lost is asked for again with what the page knows.
    repeated = await publish(teacher, class_id, resume_of=first.session_id)
    assert repeated.fence > again.fence > first.fence
    # No node opened it, so the page has never heard of it.
    await school.plane.abandon(repeated, "never_connected")
    current = await publish(teacher, class_id, resume_of=first.session_id)
    await connects(current)
    await node.ended(current, "disconnected")
    current = await publish(teacher, class_id, resume_of=current.session_id)

    other_page = await publish(teacher, class_id)
    for late in (first, current):
        assert await code_of(publish(teacher, class_id, resume_of=late.session_id)) == "replaced"
    await connects(other_page)
    await node.ended(other_page, "disconnected")
    late_again = publish(teacher, class_id, resume_of=current.session_id)
    assert await code_of(late_again) == "replaced"
    back = await publish(teacher, class_id, resume_of=other_page.session_id)
    seat = await school.seat(teacher)
    assert seat is not None and seat["session_id"] == back.session_id
    await school.assert_invariants()


async def test_resume_out_of_grace_is_a_new_segment_and_can_be_repeated(school: School) -> None:
    node = await school.node()
    _, class_id, link = await school.live_class()
    person = await school.person()
    first = await school.joined(person, link, node)
    await node.ended(first, "disconnected")
    again = await school.plane.admit(person, class_id=class_id, resume_of=first.session_id)
    assert again.session_id != first.session_id
    repeated = await school.plane.admit(person, class_id=class_id, resume_of=first.session_id)
    assert (repeated.session_id, repeated.fence) == (again.session_id, again.fence + 1)
    await school.assert_invariants()


async def test_takeover_leaves_the_other_class(school: School) -> None:
    node = await school.node()
    _, one, link_one = await school.live_class()
    _, two, link_two = await school.live_class()
    person = await school.person()
    first = await school.joined(person, link_one, node)
    assert await code_of(school.plane.admit(person, link_token=link_two)) == "active_elsewhere"
    await school.plane.admit(person, link_token=link_two, takeover=True)
    old, new = await school.segments(person)
    assert (old["class_id"], old["reason"]) == (one, "left")
    assert (new["class_id"], new["reason"]) == (two, None)
    assert [r.session_id for r in (await node.beat()).revoked] == [str(first.session_id)]
    await school.assert_invariants()


async def test_takeover_into_a_full_class_keeps_the_old_place(school: School) -> None:
    _, one, link_one = await school.live_class()
    _, _, link_two = await school.live_class(capacity=1)
    person, other = await school.people(2)
    await school.plane.admit(other, link_token=link_two)
    await school.plane.admit(person, link_token=link_one)
    attempt = school.plane.admit(person, link_token=link_two, takeover=True)
    assert await code_of(attempt) == "class_full"
    seat = await school.seat(person)
    assert seat is not None and seat["class_id"] == one


async def test_a_rotated_link_is_dead_and_those_seated_stay(school: School) -> None:
    teacher, class_id, link = await school.live_class()
    seated, late = await school.people(2)
    await school.plane.admit(seated, link_token=link)
    await school.plane._classes.rotate_link(teacher, class_id)
    assert await code_of(school.plane.admit(late, link_token=link)) == "link_invalid"
    await school.plane.admit(seated, class_id=class_id)
    await school.plane.admit(late, link_token=await school.link(class_id))
    await school.assert_invariants()


async def test_without_a_seat_there_is_no_way_in_but_the_link(school: School) -> None:
    _, class_id, _ = await school.live_class()
    attempt = school.plane.admit(await school.person(), class_id=class_id)
    assert await code_of(attempt) == "not_found"


async def test_a_class_that_is_not_live_admits_nobody(school: School) -> None:
    teacher = await school.person("teacher")
    made = await school.plane._classes.create(teacher, title="Later", capacity=5, key=None)
    person = await school.person()
    attempt = school.plane.admit(person, link_token=made["link"])
    assert await code_of(attempt) == "class_not_live"
    await school.plane._classes.start(teacher, made["class_id"])
    await school.plane._classes.end(teacher, made["class_id"])
    attempt = school.plane.admit(person, link_token=made["link"])
    assert await code_of(attempt) == "class_ended"


async def test_joins_racing_an_end_leave_nobody_inside(school: School) -> None:
    for _ in range(5):
        teacher, class_id, link = await school.live_class(capacity=100)
        people = await school.people(60)
        joins = [asyncio.ensure_future(school.plane.admit(p, link_token=link)) for p in people]
        await asyncio.sleep(0.004)
        ending = asyncio.ensure_future(school.plane._classes.end(teacher, class_id))
        _, codes = await codes_of(joins)
        await ending
        assert set(codes) <= {"class_ended"}
        assert await school.sql.fetchval("SELECT count(*) FROM seat") == 0
        await school.assert_invariants()
