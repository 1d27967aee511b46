"""The shape of a class's tree: bounded, without loops, and changed no more than it must be."""

from __future__ import annotations

import random
from collections import Counter
from uuid import UUID

import pytest

from control.tree import Edge, Plan, Standing, plan
from wire.link import DEPTH_MAX

WORKS = Standing(works=True)
GONE = Standing(works=False)


def node(number: int) -> UUID:
    return UUID(int=number)


ORIGIN = node(0)


def everybody(count: int) -> dict[UUID, Standing]:
    return {node(n): WORKS for n in range(count)}


def edges_of(made: Plan) -> list[Edge]:
    return [Edge(n, parent, made.depths[n]) for n, parent in made.parents.items()]


def grown(count: int, fanout: int) -> list[Edge]:
    """Return a tree of `count` edges, added one after the other."""
    standing, edges = everybody(count + 1), list[Edge]()
    for n in range(1, count + 1):
        made = plan(ORIGIN, edges, standing, fanout, wish=node(n))
        assert set(made.links) == {node(n)}
        edges = edges_of(made)
    return edges


def test_a_tree_is_no_deeper_than_it_must_be() -> None:
    edges = grown(72, fanout=8)
    assert Counter(edge.depth for edge in edges) == {1: 8, 2: 64}
    assert max(Counter(edge.parent for edge in edges).values()) == 8


def test_a_full_tree_takes_no_more() -> None:
    edges = grown(DEPTH_MAX, fanout=1)
    assert [edge.depth for edge in edges] == list(range(1, DEPTH_MAX + 1))
    more = DEPTH_MAX + 1
    made = plan(ORIGIN, edges, everybody(more + 1), 1, wish=node(more))
    assert not made.links and node(more) in made.gone and len(made.parents) == DEPTH_MAX


def test_the_least_busy_of_the_shallowest_gives() -> None:
    edges = [Edge(node(1), ORIGIN, 1), Edge(node(2), ORIGIN, 1), Edge(node(3), node(1), 2)]
    standing = everybody(5) | {node(1): Standing(True, busyness=0.9), node(2): Standing(True)}
    made = plan(ORIGIN, edges, standing, 2, wish=node(4))
    assert made.links == {node(4): node(2)}
    assert made.path(node(4)) == (ORIGIN, node(2))


def test_what_hangs_on_a_dead_edge_goes_on_together() -> None:
    edges = [
        Edge(node(1), ORIGIN, 1),
        Edge(node(2), ORIGIN, 1),
        Edge(node(3), node(1), 2),
        Edge(node(4), node(3), 3),
        Edge(node(5), node(3), 3),
    ]
    made = plan(ORIGIN, edges, everybody(6) | {node(1): GONE}, 2)
    assert made.gone == {node(1)}
    assert made.links == {node(3): ORIGIN}, "whoever hangs on it keeps its link"
    assert made.depths[node(4)] == made.depths[node(5)] == 2


def test_a_new_origin_takes_the_edges_of_the_old_one() -> None:
    edges = [Edge(node(1), ORIGIN, 1), Edge(node(2), ORIGIN, 1), Edge(node(3), node(1), 2)]
    new = node(9)
    made = plan(new, edges, everybody(4) | {new: WORKS, ORIGIN: GONE}, 8)
    assert made.links == {node(1): new, node(2): new} and not made.gone
    # One of the edges becomes it: its own children stay where they are.
    made = plan(node(1), edges, everybody(4), 8)
    assert made.gone == {node(1)} and made.links == {node(2): node(1)}
    assert made.parents[node(3)] == node(1) and made.depths[node(3)] == 1


def test_a_node_that_drains_gives_nothing_and_keeps_its_own() -> None:
    edges = [Edge(node(1), ORIGIN, 1), Edge(node(2), node(1), 2)]
    made = plan(ORIGIN, edges, everybody(3) | {node(1): Standing(True, draining=True)}, 8)
    assert made.links == {node(2): ORIGIN} and made.parents[node(1)] == ORIGIN


def test_a_lost_link_comes_from_another_parent_where_there_is_one() -> None:
    edges = [Edge(node(1), ORIGIN, 1), Edge(node(2), ORIGIN, 1), Edge(node(3), node(1), 2)]
    standing = everybody(4)
    assert plan(ORIGIN, edges, standing, 2, relink={node(3)}).links == {node(3): node(2)}
    assert plan(ORIGIN, edges[:1], standing, 2, relink={node(1)}).links == {node(1): ORIGIN}


@pytest.mark.parametrize("length", [1, 2, 5])
def test_a_loop_in_the_rows_is_cut(length: int) -> None:
    loop = [Edge(node(n), node(n % length + 1), 1) for n in range(1, length + 1)]
    made = plan(ORIGIN, loop, everybody(length + 1), 8)
    assert made.depths.keys() == {node(n) for n in range(length + 1)}
    for edge in loop:
        assert made.path(edge.node_id)[0] == ORIGIN


def test_any_order_of_deaths_and_births_keeps_the_shape() -> None:
    for seed in range(100):
        dice = random.Random(seed)
        fanout = dice.choice((1, 2, 3, 8))
        origin, edges = ORIGIN, list[Edge]()
        standing = everybody(30)
        for _ in range(40):
            for n in standing:
                if dice.random() < 0.1:
                    standing[n] = Standing(dice.random() < 0.8, dice.random() < 0.2, dice.random())
            if dice.random() < 0.1:
                origin = node(dice.randrange(30))
            wish = node(dice.randrange(30)) if dice.random() < 0.7 else None
            if wish is not None and not standing[wish].works:
                wish = None
            relink = {e.node_id for e in edges if dice.random() < 0.05}
            made = plan(origin, edges, standing, fanout, relink=relink, wish=wish)
            before, edges = edges, edges_of(made)
            assert_shape(made, origin, standing, fanout, before, relink, wish)


def assert_shape(
    made: Plan,
    origin: UUID,
    standing: dict[UUID, Standing],
    fanout: int,
    before: list[Edge],
    relink: set[UUID],
    wish: UUID | None,
) -> None:
    assert made.depths[origin] == 0 and origin not in made.parents
    known = {edge.node_id for edge in before} | ({wish} if wish else set())
    assert set(made.parents) | made.gone | {origin} == known | {origin}
    assert not set(made.parents) & made.gone
    for child, parent in made.parents.items():
        assert made.depths[child] == made.depths[parent] + 1 <= DEPTH_MAX
        path = made.path(child)
        assert path[0] == origin and child not in path and len(path) == made.depths[child]
        assert standing[child].works
    old = {edge.node_id: edge.parent for edge in before}
    for parent in set(made.links.values()):
        given = [c for c, p in made.parents.items() if p == parent]
        assert len(given) <= max(fanout, sum(old.get(c) == parent for c in given))
    for child, parent in made.parents.items():
        if child not in made.links:
            assert old[child] == parent and child not in relink, "a link was changed silently"
