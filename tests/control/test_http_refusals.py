"""Refusals are written down, and not so many that they fill the log."""

from __future__ import annotations

import pytest

from control.http import REFUSALS_EVERY_S, REFUSALS_LOGGED_MAX, Refusals


def test_the_first_of_a_while_are_written_and_the_others_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    now_s = 100.0
    refusals = Refusals(lambda: now_s)
    for _ in range(REFUSALS_LOGGED_MAX + 7):
        refusals.note("POST", "/api/session", "rate_limited")
    assert len(caplog.messages) == REFUSALS_LOGGED_MAX
    now_s += REFUSALS_EVERY_S
    refusals.note("POST", "/api/session", "wrong_credentials")
    assert caplog.messages[REFUSALS_LOGGED_MAX:] == [
        "7 more were refused",
        "POST /api/session was refused: wrong_credentials",
    ]
