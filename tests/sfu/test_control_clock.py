"""A node reckons the database's clock from answers, and trusts the quickest."""

from __future__ import annotations

import pytest

from sfu.control_clock import READING_AGE_MAX_S, ControlClock

AHEAD_S = 1_700_000_000.0


def read(clock: ControlClock, sent_s: float, out_s: float, back_s: float) -> None:
    """Let a question travel `out_s` there and its answer `back_s` back."""
    clock.learn(sent_s + out_s + AHEAD_S, sent_s, sent_s + out_s + back_s)


def test_nothing_is_known_at_first() -> None:
    assert ControlClock().at(5.0) is None


def test_a_reading_is_wrong_by_half_its_travel_at_most() -> None:
    for out_s, back_s in ((0.4, 0.0), (0.0, 0.4), (0.2, 0.2)):
        clock = ControlClock()
        read(clock, 10.0, out_s, back_s)
        assert clock.at(20.0) == pytest.approx(20.0 + AHEAD_S, abs=0.2 + 1e-6)


def test_the_quickest_reading_of_the_last_minute_counts() -> None:
    clock = ControlClock()
    read(clock, 0.0, 0.001, 0.001)
    read(clock, 10.0, 2.0, 0.0)
    assert clock.at(20.0) == pytest.approx(20.0 + AHEAD_S, abs=0.01)
    # A clock that was set is believed after a minute, whatever the way.
    late_s = READING_AGE_MAX_S + 1
    clock.learn(late_s + AHEAD_S + 7.0, late_s, late_s)
    clock.learn(late_s + AHEAD_S + 7.5, late_s, late_s + 1.0)
    assert clock.at(100.0) == pytest.approx(107.0 + AHEAD_S, abs=0.01)
