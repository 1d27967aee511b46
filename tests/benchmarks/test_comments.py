"""The comments benchmark: everything said is counted at everybody, and what is lost is noticed."""

from __future__ import annotations

import msgpack
import pytest

from benchmarks.comments import figures
from benchmarks.comments.crowd import Crowd
from benchmarks.comments.measure import Load, Measured, measure
from benchmarks.report import Report


def test_a_small_class_hears_everything() -> None:
    report, measured = Report("comments"), Measured(12, 12.0)
    load = Load(rate=12, warm_up_s=0.5, window_s=2.0, rest_s=0.0, processes=2)
    measure(12, load, report, measured)
    row = figures(measured)
    assert row["accepted"] == 30
    assert row["delivered"] == row["expected"] == row["samples"] == 30 * 12
    assert row["heard_least"] == row["heard_most"] == 30
    assert row["disorders"] == row["refused"] == 0
    cores, p99_ms = row["node_cores"], row["p99_ms"]
    assert isinstance(cores, float) and 0 < cores < 2
    assert isinstance(p99_ms, float) and p99_ms > 0


@pytest.mark.parametrize("twice", [False, True])
async def test_a_comment_that_comes_twice_is_noticed(twice: bool) -> None:
    crowd = Crowd({"numbers": [0], "class": "", "node": "", "secret": ""})
    (reader,) = crowd.readers
    for number in (1, 1 if twice else 2):
        item = {"id": number, "text": "1.0 hello"}
        reader._hear(msgpack.packb({"type": "comments", "items": [item]}))
    assert crowd.heard()["disorders"] == int(twice)
