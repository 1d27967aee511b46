"""A class that outgrows its node goes on to others, as a tree, and its capacity stays exact."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from control import Account, Admission, Limits, Problem, beats, placement, trees
from tests.control.people import School
from tests.nodes.fake_fleet import Fleet, fleet
from wire.beat import LostLink

# A node is full for viewers at 85 % of it.
PER_NODE = 20


@pytest.fixture
async def four(
    database_url: str,
    redis_url: str,
    tmp_path: Path,
    school: School,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Fleet]:
    """Four nodes under two web processes; two edges hang on a node at the most."""
    # A machine that is busy with something else is no reason to find a node dead.
    monkeypatch.setattr(beats, "LEASE_S", 300.0)
    monkeypatch.setattr(placement, "BEAT_AGE_MAX_S", 300.0)
    # Nodes here are a hundredth of real ones: so is what other processes place unseen.
    monkeypatch.setattr(trees, "SEEN_S", 0.005)
    monkeypatch.setattr(trees, "LOOK_SHARE", 0.0)
    limits = Limits(sessions_per_node=PER_NODE, edges_per_node=2)
    async with fleet(database_url, redis_url, tmp_path, nodes=4, webs=2, limits=limits) as made:
        yield made


async def taught(four: Fleet, school: School, capacity: int) -> tuple[Account, UUID, str, UUID]:
    """Return (teacher, class, link, origin) of a class whose teacher is on air."""
    teacher, class_id, link = await school.live_class(capacity)
    _, origin = await four.webs[0].teach(teacher, class_id)
    return teacher, class_id, link, origin


async def join_all(
    four: Fleet, people: list[Account], link: str, at_once: int = 8
) -> tuple[dict[UUID, tuple[Admission, UUID]], list[str]]:
    """Let people join through all web processes; return where they are, and the refusals' codes."""
    gate = asyncio.Semaphore(at_once)
    seated: dict[UUID, tuple[Admission, UUID]] = {}
    codes: list[str] = []

    async def join(number: int, person: Account) -> None:
        async with gate:
            try:
                seated[person.account_id] = await four.webs[number % 2].watch(person, link)
            except Problem as problem:
                codes.append(problem.code)

    await asyncio.gather(*(join(n, person) for n, person in enumerate(people)))
    return seated, codes


async def three_edges(four: Fleet, people: list[Account], link: str) -> Any:
    """Let people fill a tree of three edges, one of which hangs on another."""
    # Few at once: of those on their way other processes know nothing, and nodes here are small.
    seated, codes = await join_all(four, people, link, at_once=4)
    await four.settled()
    assert not codes
    return seated


async def edges(school: School, class_id: UUID) -> dict[UUID, tuple[UUID, int, bool]]:
    """Return (parent, depth, told) of each edge."""
    found = await school.sql.fetch("SELECT * FROM class_edge WHERE class_id = $1", class_id)
    return {e["node_id"]: (e["parent"], e["depth"], e["told"]) for e in found}


async def test_a_small_class_stays_on_its_node(four: Fleet, school: School) -> None:
    _, class_id, link, origin = await taught(four, school, 10)
    seated, codes = await join_all(four, await school.people(10), link)
    assert not codes and {node for _, node in seated.values()} == {origin}
    assert await edges(school, class_id) == {}


async def test_racing_joins_fill_a_tree_exactly(four: Fleet, school: School) -> None:
    capacity = 60
    _, class_id, link, origin = await taught(four, school, capacity)
    seated, codes = await join_all(four, await school.people(capacity + 25), link)
    await four.settled()
    assert len(seated) == capacity and Counter(codes) == {"class_full": 25}
    held = sum(node.viewers(class_id) for node in four.nodes)
    assert held == capacity, "on the nodes as many as in the books"
    assert await school.sql.fetchval("SELECT used FROM class") == capacity
    rows = await edges(school, class_id)
    assert len(rows) == 3 and all(told for _, _, told in rows.values())
    assert sorted(depth for _, depth, _ in rows.values()) == [1, 1, 2]
    assert Counter(parent for parent, _, _ in rows.values())[origin] == 2
    assert not four.blind(class_id)
    for node in four.nodes:
        assert node.viewers(class_id) > 0
        assert four.depth(node, class_id) == (
            0 if node.node_id == origin else rows[node.node_id][1]
        )
    # Each seat names the node that really has it.
    for person, (_, node_id) in seated.items():
        assert node_id == await school.sql.fetchval(
            "SELECT node_id FROM seat WHERE user_id = $1", person
        )
    await four.beat()
    await school.assert_invariants()


@pytest.mark.long
async def test_two_processes_that_add_an_edge_end_with_one(four: Fleet, school: School) -> None:
    _, class_id, link, origin = await taught(four, school, 100)
    counts = []
    for _ in range(22):
        await join_all(four, await school.people(2), link)
        counts.append(len(await edges(school, class_id)))
    assert counts == sorted(counts) and set(counts) == {0, 1, 2}
    assert counts.index(1) >= 5 and counts.index(2) >= counts.index(1) + 5, "each was filled"


@pytest.mark.long
async def test_who_comes_back_stays_on_the_node(four: Fleet, school: School) -> None:
    _, class_id, link, origin = await taught(four, school, 100)
    people = await school.people(25)
    seated, _ = await join_all(four, people, link)
    away = next(p for p in people if seated[p.account_id][1] != origin)
    admission, node = seated[away.account_id]
    again, same = await four.webs[1].watch(away, link, resume_of=admission.session_id)
    assert same == node and again.session_id == admission.session_id
    # By the link as well, and also when the origin has room again.
    await four.beat()
    for person in people:
        if seated[person.account_id][1] == origin:
            await four.plane.leave(person, seated[person.account_id][0].session_id, "left")
            holder = four.node(origin)
            assert holder is not None
            holder._close(str(seated[person.account_id][0].session_id), None)  # type: ignore[arg-type]
    await four.beat()
    await asyncio.sleep(1.1)
    _, same = await four.webs[0].watch(away, link)
    assert same == node
    _, new = await four.webs[0].watch(await school.person(), link)
    assert new == origin, "whoever is new goes to the origin while it has room"


@pytest.mark.long
async def test_an_edge_that_dies_is_replaced_and_its_children_go_on(
    four: Fleet, school: School
) -> None:
    _, class_id, link, origin = await taught(four, school, 100)
    people = await school.people(60)
    seated = await three_edges(four, people, link)
    rows = await edges(school, class_id)
    deep = next(node for node, (_, depth, _) in rows.items() if depth == 2)
    middle = four.node(rows[deep][0])
    assert middle is not None and middle.node_id != origin
    await middle.die()
    lost = [p for p in people if seated[p.account_id][1] == middle.node_id]
    assert lost and len(four.blind(class_id)) == four.node(deep).viewers(class_id)  # type: ignore[union-attr]
    # The first who comes back finds that it is dead; the children have their picture from then on.
    first, *others = lost
    _, node = await four.webs[0].watch(
        first, link, resume_of=seated[first.account_id][0].session_id
    )
    assert node != middle.node_id
    await four.settled()
    assert not four.blind(class_id)
    rows = await edges(school, class_id)
    assert middle.node_id not in rows and rows[deep][0] != middle.node_id
    for person in others:
        admission = seated[person.account_id][0]
        _, node = await four.webs[1].watch(person, link, resume_of=admission.session_id)
        assert node != middle.node_id
    assert sum(n.viewers(class_id) for n in four.living()) == 60
    await school.assert_invariants()


@pytest.mark.long
async def test_a_node_that_hangs_is_left_without_anybody_coming(
    four: Fleet, school: School
) -> None:
    _, class_id, link, _ = await taught(four, school, 100)
    await three_edges(four, await school.people(60), link)
    rows = await edges(school, class_id)
    deep = next(node for node, (_, depth, _) in rows.items() if depth == 2)
    middle = rows[deep][0]
    await four.plane.shun(middle)  # its media does not answer
    await four.heal()
    after = await edges(school, class_id)
    assert middle not in after and after[deep][0] != middle and after[deep][2]
    hanging = four.node(deep)
    assert hanging is not None
    assert hanging.room(str(class_id)).sessions.keys().isdisjoint(four.blind(class_id))
    hung = four.node(middle)
    assert hung is not None
    epoch = await school.sql.fetchval("SELECT placement_epoch FROM class")
    assert [m.epoch for m in hung.moved] == [epoch + 1], "whom it still has is to go"


@pytest.mark.long
async def test_the_origin_dies_and_edges_keep_their_viewers(four: Fleet, school: School) -> None:
    teacher, class_id, link, origin = await taught(four, school, 100)
    people = await school.people(34)
    seated, _ = await join_all(four, people, link)
    await four.settled()
    before = await edges(school, class_id)
    assert 1 <= len(before) <= 2
    dead = four.node(origin)
    assert dead is not None
    watching = {n.node_id: n.viewers(class_id) for n in four.nodes if n.node_id in before}
    await dead.die()
    _, new = await four.webs[1].teach(teacher, class_id)
    assert new != origin and new not in before, "a node that is free takes it"
    await four.settled()
    after = await edges(school, class_id)
    assert set(after) == set(before)
    assert all(parent != origin and told for parent, _, told in after.values())
    assert not four.blind(class_id)
    assert {n.node_id: n.viewers(class_id) for n in four.nodes if n.node_id in before} == watching
    assert not any(n.moved for n in four.living()), "nobody is sent away"
    assert await school.sql.fetchval("SELECT placement_epoch FROM class") == 2


@pytest.mark.long
async def test_an_edge_becomes_the_origin_where_no_other_node_is(
    four: Fleet, school: School
) -> None:
    teacher, class_id, link, origin = await taught(four, school, 100)
    await three_edges(four, await school.people(60), link)
    assert len(await edges(school, class_id)) == 3
    dead = four.node(origin)
    assert dead is not None
    await dead.die()
    _, new = await four.webs[0].teach(teacher, class_id)
    await four.settled()
    after = await edges(school, class_id)
    assert new not in after and len(after) == 2
    assert not four.blind(class_id)


@pytest.mark.long
async def test_a_process_that_dies_in_between_leaves_nothing_that_is_not_healed(
    four: Fleet, school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, class_id, link, _ = await taught(four, school, 100)
    dying, other = four.webs
    told: list[object] = []

    async def dies(*message: object) -> None:
        told.append(message)
        raise asyncio.CancelledError

    # It has written the edge and told the parent, and nothing more is heard of it.
    monkeypatch.setattr(dying.nodes, "take_link", dies)
    for person in await school.people(30):
        await asyncio.gather(dying.watch(person, link), return_exceptions=True)
        if told:
            break
    ((edge, (_, _, was_told)),) = (await edges(school, class_id)).items()
    assert not was_told
    await dying.links.close()
    await four.beat()
    await asyncio.sleep(1.1)
    for person in await school.people(4):  # the origin may have room for one or two
        _, node = await other.watch(person, link)
        if node == edge:
            break
    assert node == edge and (await edges(school, class_id))[edge][2]
    assert not four.blind(class_id)
    # Without anybody who joins, the healing does it.
    await school.sql.execute("UPDATE class_edge SET told = false, tell_after = '-infinity'")
    await other.plane.heal_trees()
    await four.settled()
    assert (await edges(school, class_id))[edge][2]


@pytest.mark.long
async def test_a_lost_link_is_made_anew_and_another_ones_is_not(
    four: Fleet, school: School, caplog: pytest.LogCaptureFixture
) -> None:
    _, class_id, link, _ = await taught(four, school, 100)
    await three_edges(four, await school.people(60), link)
    rows = await edges(school, class_id)
    deep = next(node for node, (_, depth, _) in rows.items() if depth == 2)
    child = four.node(deep)
    assert child is not None
    up = child.room(str(class_id)).upstream
    assert up is not None
    # Its parent has forgotten it.
    parent = four.node(up.parent_id)
    assert parent is not None
    parent.room(str(class_id)).children.clear()
    assert four.blind(class_id)
    await child.beat()
    await four.settled()
    assert not four.blind(class_id)
    new = child.room(str(class_id)).upstream
    assert new is not None and new.link_id != up.link_id and new.key != up.key
    version = await school.sql.fetchval(
        "SELECT link_version FROM class_edge WHERE node_id = $1", deep
    )
    assert version == 2
    # A liar: a link that is long gone, a class of which it is no edge, words that are no ids.
    lies = [
        LostLink(str(class_id), up.link_id),
        LostLink(str(school_id()), new.link_id),
        LostLink("a", "b"),
    ]
    await child.beat(lost=lies)
    stranger = four.node(await school.sql.fetchval("SELECT origin_node FROM class"))
    assert stranger is not None
    await stranger.beat(lost=[LostLink(str(class_id), new.link_id)])
    assert child.room(str(class_id)).upstream == new
    assert "of which it is no edge" in caplog.text and "a link that is none" in caplog.text


def school_id() -> UUID:
    return UUID(int=7)


@pytest.mark.long
async def test_an_edge_that_loses_every_link_is_dropped(
    four: Fleet, school: School, caplog: pytest.LogCaptureFixture
) -> None:
    _, class_id, link, _ = await taught(four, school, 100)
    await join_all(four, await school.people(20), link)
    await four.settled()
    ((edge, _),) = (await edges(school, class_id)).items()
    liar = four.node(edge)
    assert liar is not None
    for _ in range(20):
        up = liar.room(str(class_id)).upstream
        assert up is not None
        await liar.beat(lost=[LostLink(str(class_id), up.link_id)])
        await four.settled()
        if edge not in await edges(school, class_id):
            break
    else:
        raise AssertionError("it is believed for ever")
    assert "loses every link" in caplog.text and liar.moved


@pytest.mark.long
@pytest.mark.parametrize("code", ["loop", "no_parent", "wrong_node", "draining", "stale"])
async def test_who_does_not_take_a_link_keeps_nobody_waiting(
    four: Fleet, school: School, code: str
) -> None:
    _, class_id, link, origin = await taught(four, school, 100)
    bad = [node for node in four.nodes if node.node_id != origin][:2]
    for node in bad:
        node.refuses["TakeLink"] = code
    seated, codes = await join_all(four, await school.people(24), link)
    assert set(codes) <= {"no_capacity"}
    good = await school.sql.fetch("SELECT node_id FROM class_edge WHERE told")
    assert {g["node_id"] for g in good}.isdisjoint({n.node_id for n in bad})
    assert not four.blind(class_id)
    assert len(seated) >= 17


@pytest.mark.long
async def test_an_idle_edge_is_closed(four: Fleet, school: School) -> None:
    _, class_id, link, origin = await taught(four, school, 100)
    people = await school.people(22)
    seated, _ = await join_all(four, people, link)
    await four.settled()
    ((edge, _),) = (await edges(school, class_id)).items()
    assert await four.plane._trees.close_idle(0.0) == 0, "somebody watches there"
    for person in people:
        admission, node = seated[person.account_id]
        if node == edge:
            await four.plane.leave(person, admission.session_id, "left")
            four.node(edge)._close(str(admission.session_id), None)  # type: ignore[union-attr, arg-type]
    assert await four.plane._trees.close_idle(60.0) == 0, "not at once"
    assert await four.plane._trees.close_idle(0.0) == 1
    await four.settled()
    assert await edges(school, class_id) == {}
    closed, parent = four.node(edge), four.node(origin)
    assert closed is not None and closed.room(str(class_id)).upstream is None
    assert parent is not None and not parent.room(str(class_id)).children
    # Who was on the way there is placed again.
    late = await school.person()
    admission = await four.plane.admit(late, link_token=link)
    assert not await four.plane.bind_session(admission, edge, as_edge=True)


@pytest.mark.long
async def test_the_end_of_a_class_ends_its_tree(four: Fleet, school: School) -> None:
    teacher, class_id, link, _ = await taught(four, school, 100)
    await join_all(four, await school.people(24), link)
    await four.settled()
    assert await edges(school, class_id)
    await four.plane._classes.end(teacher, class_id)
    assert await edges(school, class_id) == {}
    await four.beat()
    assert not any(str(class_id) in node.rooms for node in four.nodes), "all have heard of it"
    await four.heal()


@pytest.mark.long
async def test_a_draining_edge_gets_nobody_and_gives_nothing(four: Fleet, school: School) -> None:
    _, class_id, link, origin = await taught(four, school, 100)
    await three_edges(four, await school.people(60), link)
    rows = await edges(school, class_id)
    deep = next(node for node, (_, depth, _) in rows.items() if depth == 2)
    middle = four.node(rows[deep][0])
    assert middle is not None
    await middle.beat(draining=True)
    await four.heal()
    after = await edges(school, class_id)
    assert after[deep][0] != middle.node_id and after[deep][2]
    assert middle.node_id in after, "whom it has stays until it sends them"
    assert not four.blind(class_id)
    before = middle.viewers(class_id)
    await asyncio.sleep(1.1)
    await join_all(four, await school.people(5), link)
    assert middle.viewers(class_id) == before


@pytest.mark.long
async def test_a_stampede_is_spread_before_nodes_are_full(
    database_url: str, redis_url: str, tmp_path: Path, school: School
) -> None:
    async with fleet(database_url, redis_url, tmp_path, nodes=4, limits=Limits()) as made:
        _, class_id, _, origin = await taught(made, school, 1000)
        place = made.plane._placement.place_viewer
        calm = [(await place(class_id)).node.node_id for _ in range(40)]
        assert set(calm) == {origin}
        places = [(await place(class_id)).node.node_id for _ in range(140)]
        assert len(set(places)) >= 3 and max(Counter(places).values()) <= 110
