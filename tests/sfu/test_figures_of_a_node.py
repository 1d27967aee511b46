"""A node's figures are those of its native core, and sums only grow while sessions come and go."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from sfu.metrics import _NODE_COUNTERS, _SESSION_COUNTERS, SESSIONS_PER_TICK_MAX, _Tally
from tests.sfu.conftest import Site

Soon = Callable[[Callable[[], bool]], Awaitable[None]]


def figure(site: Site, name: str, **labels: str) -> float:
    families = text_string_to_metric_families(site.node.metrics.text().decode())
    found = [
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    assert found, f"{name} is not told"
    return sum(found)


async def test_every_counter_that_is_told_is_one_of_the_core(site: Site, soon: Soon) -> None:
    teacher, student = await site.teacher(), await site.student()
    for client in (teacher, student):
        await client.state("connected")
    told = site.media.stats()
    assert [counter for counter, *_ in _NODE_COUNTERS if counter not in told] == []
    assert "loop_lag_us_max" in told and "tcp_connections" in told
    numbers = {s.opening.role: s.number for s in site.node.sessions.values()}
    # What was counted before the session had its part says less.
    parts = {"viewer": "nacks", "publisher": "packets_received"}
    await soon(
        lambda: all(parts[r] in (site.media.session_stats(n) or {}) for r, n in numbers.items())
    )
    for role, counter, *_ in _SESSION_COUNTERS:
        assert counter in (site.media.session_stats(numbers[role]) or {}), (role, counter)


async def test_what_a_session_counted_stays_when_it_has_ended(site: Site, soon: Soon) -> None:
    teacher = await site.teacher()
    await teacher.state("connected")
    name = "lectern_publisher_packets_received_total"
    await soon(lambda: figure(site, name) > 10)
    (session,) = site.node.sessions.values()
    await teacher.leave()
    await site.nothing_left()
    counted = session.counted["packets_received"]
    assert counted > 10
    assert figure(site, name) == counted
    assert figure(site, "lectern_sessions_ended_total", role="publisher", reason="left") == 1
    assert figure(site, "lectern_publishers") == 0


@pytest.mark.parametrize("first", [0, 7])
def test_a_tally_adds_what_is_new_and_never_goes_back(first: int) -> None:
    tally = _Tally()
    tally.add(1, "viewer", {"nacks": first})
    tally.add(1, "viewer", {"nacks": first + 5})
    tally.add(1, "viewer", {"nacks": first})  # an older snapshot
    tally.add(2, "publisher", {"packets_repaired": 3, "nacks": 99})
    tally.last(1, "viewer", {"nacks": first + 6})
    assert tally.sums["nacks_received"] == first + 6
    assert tally.sums["publisher_packets_repaired"] == 3
    assert tally.sums["retransmissions_sent"] == 0
    tally.last(2, "publisher", {})
    assert not tally._seen


async def test_a_session_that_counted_nothing_yet_is_no_trouble(site: Site) -> None:
    await site.teacher()
    for _ in range(3):
        site.node.metrics.tick(site.node._by_number, -0.1)
    assert SESSIONS_PER_TICK_MAX >= 10
    assert figure(site, "lectern_event_loop_lag_seconds_count") >= 3


@pytest.mark.parametrize("bearer", ["the metrics' token", "the node's secret", "", "wrong"])
async def test_the_metrics_token_opens_the_metrics_and_nothing_else(
    site: Site, bearer: str
) -> None:
    site.node._internal._metrics_token = "a token for the metrics"
    known = {"the metrics' token": "a token for the metrics", "the node's secret": site.node.secret}
    headers = {"Authorization": f"Bearer {known.get(bearer, bearer)}"}
    connector = aiohttp.UnixConnector(site.node.url.removeprefix("unix:"))
    async with aiohttp.ClientSession("http://node", connector=connector, headers=headers) as http:
        status = {p: (await http.get(p)).status for p in ("/metrics", "/health", "/metrics/")}
    assert status["/metrics"] == (200 if bearer in known else 401)
    assert status["/health"] == (200 if bearer == "the node's secret" else 401)
    assert status["/metrics/"] != 200
