"""`lectern bench capacity` names the limit that broke."""

from __future__ import annotations

import pytest

from benchmarks.capacity import broken
from benchmarks.report import Row

GOOD: Row = {
    "packets_lost": 0,
    "packets_overflowed": 0,
    "generator_cpu_share": 0.4,
    "node_cpu_share": 0.6,
    "delay_ms_p99": 9.0,
}


@pytest.mark.parametrize(
    ("change", "limit"),
    [
        ({}, None),
        ({"packets_lost": 3}, "packets_lost"),
        ({"packets_lost": 3, "packets_overflowed": 3}, "generator"),
        ({"packets_lost": 4, "packets_overflowed": 3}, "packets_lost"),
        ({"generator_cpu_share": 0.97, "node_cpu_share": 0.97}, "generator"),
        ({"node_cpu_share": 0.95, "packets_lost": 9}, "node_cpu"),
        ({"delay_ms_p99": 51.0}, "delay"),
    ],
)
def test_the_limit_that_broke_is_named(change: Row, limit: str | None) -> None:
    assert broken(GOOD | change, 50.0) == limit


def test_of_a_deployment_elsewhere_the_node_is_not_judged_but_what_it_sent_is() -> None:
    known: Row = {name: value for name, value in GOOD.items() if name != "node_cpu_share"}
    assert broken(known, 50.0) is None
    assert broken(known | {"packets_failed": 1}, 50.0) == "packets_failed"
