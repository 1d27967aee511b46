"""What `lectern bench lines` makes of what a page noted, and where it cannot be run."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.command import main
from benchmarks.lines import measured
from benchmarks.lines.measured import Times
from benchmarks.lines.rows import ROWS

MIC = "1"


def pictures(*spans: tuple[float, float, float]) -> list[dict[str, Any]]:
    """Return pictures of (from, until, every), all in ms."""
    stamps: list[float] = []
    for begin, end, every in spans:
        while begin < end:
            stamps.append(begin)
            begin += every
    return [{"at_ms": at, "age_ms": 100, "right": 1.0} for at in stamps]


def counters(concealed: int = 0) -> list[dict[str, Any]]:
    names = ("framesDecoded", "qpSum", "pliCount", "nackCount", "bytesReceived")
    mid = {"concealedSamples": 0, "totalSamplesReceived": 0}
    after = {"concealedSamples": concealed, "totalSamplesReceived": 48_000}
    video: dict[str, int] = dict.fromkeys(names, 0)
    return [
        {"video": video, "mids": {MIC: mid}},
        {"video": {**video, "framesDecoded": 10, "qpSum": 200}, "mids": {MIC: after}},
    ]


def test_freezes_rate_and_quantiser_are_counted() -> None:
    seen = pictures((0, 4000, 66.7), (5000, 10_000, 66.7))
    found = measured.figures(seen, counters(4800), Times(0, 10_000), MIC)
    assert (found["freezes"], found["quantiser"]) == (1, 20)
    assert found["concealed_percent"] == pytest.approx(10)
    assert 1000 <= (found["longest_ms"] or 0) <= 1100
    assert 13 <= (found["fps"] or 0) <= 14


def test_a_picture_that_never_comes_back_is_the_longest_freeze_and_holds_no_bound() -> None:
    found = measured.figures(pictures((0, 1000, 50)), counters(), Times(0, 9000, 1000, 2000), MIC)
    assert found["picture_ms"] is None and found["full_ms"] is None
    assert 8000 <= (found["longest_ms"] or 0) <= 8100
    assert not any(holds(found) for what, holds in ROWS["narrowed-300"].musts if "full_ms" in what)


def test_recovery_counts_from_the_mending() -> None:
    times = Times(0, 20_000, hurt=2000, mended=10_000)
    slow = pictures((0, 2000, 66), (4500, 10_000, 500), (10_200, 11_700, 300), (11_700, 20_000, 66))
    found = measured.figures(slow, counters(), times, MIC)
    assert found["moves_ms"] == 2500
    assert found["picture_ms"] == 200
    assert 1000 <= (found["full_ms"] or 0) <= 1800


def test_an_old_picture_is_no_picture() -> None:
    seen = pictures((0, 2000, 66), (10_500, 20_000, 66))
    seen += [{"at_ms": 10_100, "age_ms": 6000}]
    seen.sort(key=lambda one: one["at_ms"])
    found = measured.figures(seen, counters(), Times(0, 20_000, 5000, 10_000), MIC)
    assert found["picture_ms"] == 500


def test_the_worst_of_several_students_is_told() -> None:
    good = measured.figures(pictures((0, 10_000, 66)), counters(), Times(0, 10_000), MIC)
    bad = measured.figures(pictures((0, 10_000, 200)), counters(), Times(0, 10_000), MIC)
    both = measured.worst([good, bad])
    assert (both["fps"], both["longest_ms"]) == (bad["fps"], bad["longest_ms"])


def test_what_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lines", "--rows", "good,moon"]) == 2
    assert "There is no line 'moon'" in capsys.readouterr().err
