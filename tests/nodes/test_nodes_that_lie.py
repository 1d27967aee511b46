"""Loads that cannot be, old words, and calls without the secret: refused and said."""

from __future__ import annotations

import random

import pytest

from control.beats import Refused
from control.placement import busyness, choose
from tests.control.people import School
from wire.beat import Load, digest_of


@pytest.mark.parametrize(
    "load",
    [
        Load(-1, 0, 0, 0.0, 0.0),
        Load(0, 10**9, 0, 0.0, 0.0),
        Load(0, 0, -5, 0.0, 0.0),
        Load(0, 0, 0, float("nan"), 0.0),
        Load(0, 0, 0, 0.0, float("inf")),
        Load(0, 0, 0, 0.0, 0.0, -1.0),
    ],
)
async def test_a_load_that_cannot_be_renews_no_lease(school: School, load: Load) -> None:
    node = await school.node()
    before = await school.sql.fetchval("SELECT lease_until FROM node")
    with pytest.raises(Refused) as refused:
        await node.beat(load=load)
    assert refused.value.status == 400
    assert await school.sql.fetchval("SELECT lease_until FROM node") == before
    assert (await node.beat()).accepted


async def test_a_node_that_hides_its_sessions_is_not_believed(
    school: School, caplog: pytest.LogCaptureFixture
) -> None:
    node = await school.node()
    _, _, link = await school.live_class(capacity=100)
    held = [await school.joined(person, link, node) for person in await school.people(30)]
    digest = digest_of([(str(a.session_id), a.fence) for a in held])
    await node.beat(digest=digest, load=Load(29, 1, 0, 0.0, 0.0))
    assert "says" not in caplog.text
    await node.beat(digest=digest, load=Load(0, 0, 0, 0.0, 0.0))
    assert f"node {node.node_id} says 0 sessions and holds 30" in caplog.text
    assert await school.sql.fetchval("SELECT sessions FROM node") == 30
    (load,) = await school.plane._map.loads([node.node_id])
    assert load == busyness(Load(30, 0, 0, 0.0, 0.0))


async def test_a_beat_without_the_secret_ends_nobodys_attempt(school: School) -> None:
    node = await school.node()
    with pytest.raises(Refused) as refused:
        await node.beat(secret="somebody else's secret")
    assert refused.value.status == 401
    assert (await node.beat()).accepted


def test_the_emptier_a_node_the_more_classes_it_gets() -> None:
    dice = random.Random(3)
    counts = [0, 0, 0]
    for _ in range(3000):
        counts[choose([0.0, 0.25, 0.6], dice)] += 1
    assert counts[0] > 3 * counts[1] > 0 and counts[2] == 0
    assert choose([0.9, 0.7, 0.8], dice) == 1, "where none has room, the least busy one"
    assert busyness(Load(0, 0, 0, 0.0, 250.0)) == 1.0
    assert busyness(Load(0, 0, 0, 0.0, 0.0, 20.0)) == 1.0
