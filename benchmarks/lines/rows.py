"""The bad lines: what each does to packets and when, and what a student has to see on it all the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

# A round trip of 50 ms, whatever else a line does.
ONE_WAY_S = 0.025
WIDE_BPS, NARROW_BPS = 3e6, 300e3
# 200 ms of waiting at either rate; more is dropped.
QUEUE_S = 0.2
FPS = 15
# From here on a standing picture is called a freeze, as the figures that are to hold do.
FREEZE_MS = 500

Figures = Mapping[str, float | None]
Must = tuple[str, Callable[[Figures], bool]]


@dataclass(frozen=True, slots=True)
class Act:
    """From `at_s` of the row on the line does this, both ways or (`down`) towards the student alone."""

    at_s: float
    settings: Mapping[str, Any]
    down: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One line. `mends_s`: when all is well again, for what counts from there; `hurts_s`: when it begins."""

    name: str
    seconds: float
    acts: tuple[Act, ...]
    musts: tuple[Must, ...]
    hurts_s: float | None = None
    mends_s: float | None = None
    native: int = 0  # viewers on a good line besides
    students: int = 1
    undo: Mapping[str, Any] = field(
        default_factory=lambda: {
            "loss": 0.0,
            "jitter_s": 0.0,
            "reorder": 0.0,
            "rate_bps": None,
            "outage_s": 0.0,
        }
    )


def _at_most(name: str, bound: float) -> Must:
    return f"{name} <= {bound:g}", lambda found: _has(found[name]) <= bound


def _at_least(name: str, bound: float) -> Must:
    return f"{name} >= {bound:g}", lambda found: -_has(found[name]) <= -bound


def _has(value: float | None) -> float:
    """Return the figure; what did not come about holds no bound."""
    return float("nan") if value is None else value


# What a page counts begins anew with another connection, and would hold by having been lost.
SAME_CONNECTION: Must = _at_most("rejoins", 0)


def _rate(bps: float) -> dict[str, Any]:
    return {"rate_bps": bps, "queue_bytes": int(bps / 8 * QUEUE_S)}


ROWS: dict[str, Row] = {
    row.name: row
    for row in (
        Row("good", 20, (), (_at_most("freezes", 0), _at_least("fps", 14))),
        Row(
            "loss-10",
            60,
            (Act(0, {"loss": 0.10}),),
            (_at_most("freezes", 0), _at_most("concealed_percent", 5)),
        ),
        Row(
            "loss-20",
            60,
            (Act(0, {"loss": 0.20}),),
            (_at_most("freezes", 1), _at_least("fps", 12)),
        ),
        Row(
            "burst-200",
            15,
            (Act(5, {"outage_s": 0.2}),),
            (_at_most("longest_ms", 1000),),
            hurts_s=5,
            mends_s=5.2,
        ),
        Row(
            "outage-5s",
            25,
            (Act(5, {"outage_s": 5.0}),),
            (_at_most("picture_ms", 2000),),
            hurts_s=5,
            mends_s=10,
        ),
        Row(
            "narrowed-300",
            55,
            (
                Act(0, _rate(WIDE_BPS), down=True),
                Act(10, _rate(NARROW_BPS), down=True),
                Act(35, _rate(WIDE_BPS), down=True),
            ),
            (
                _at_most("concealed_percent", 1),
                _at_most("moves_ms", 3000),
                _at_most("full_ms", 15_000),
            ),
            hurts_s=10,
            mends_s=35,
        ),
        Row(
            "reorder-jitter",
            40,
            (Act(0, {"reorder": 0.10, "reorder_s": 0.05, "jitter_s": 0.1}),),
            (_at_most("freezes", 0), _at_most("student_plis", 0), _at_most("keyframes_asked", 0)),
        ),
        Row(
            "crowd",
            60,
            (
                Act(0, {"loss": 0.10}),
                Act(15, {"loss": 0.20}),
                Act(30, {"loss": 0.0, "outage_s": 5.0}),
                Act(40, {"reorder": 0.10, "reorder_s": 0.05, "jitter_s": 0.1}),
                Act(50, {"reorder": 0.0, "jitter_s": 0.0, **_rate(NARROW_BPS * 5)}, down=True),
            ),
            (
                _at_most("others_missing", 0),
                _at_most("others_gap_ms", FREEZE_MS),
                _at_most("keyframes_per_5s", 1),
            ),
            native=95,
            students=5,
        ),
    )
}
