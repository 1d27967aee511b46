"""Figures out of what a student's page noted; nothing here touches a browser."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.lines.rows import FPS, FREEZE_MS

# Over so long the rate of pictures is judged.
FULL_OVER_MS = 2000
FULL_SHARE = 0.9
MOVES_GAP_MS = 1000
# A picture of before the trouble that comes after it does not end it.
LIVE_MS = 2000

Figures = dict[str, float | None]


@dataclass(frozen=True, slots=True)
class Times:
    """The row on the page's clock, in ms: from, until, when the line got bad and when it was mended."""

    begun: float
    ended: float
    hurt: float | None = None
    mended: float | None = None


def figures(
    pictures: Sequence[dict[str, Any]], counters: Sequence[dict[str, Any]], times: Times, mic: str
) -> Figures:
    """Return the figures of one student; `mic` is the mid of speech.

    `pictures`: {at_ms, age_ms, right?} of each new one; `counters`: {at_ms, video, mids} of getStats, of
    one connection: after a rejoin what they have gained means nothing.
    """
    seen = [one for one in pictures if times.begun <= one["at_ms"] <= times.ended]
    stamps = [times.begun, *(one["at_ms"] for one in seen), times.ended]
    gaps = [after - before for before, after in itertools.pairwise(stamps)]
    first, last = counters[0], counters[-1]
    video = {
        name: last["video"].get(name, 0) - first["video"].get(name, 0)
        for name in ("framesDecoded", "qpSum", "pliCount", "nackCount", "bytesReceived")
    }
    speech = {
        name: last["mids"][mic][name] - first["mids"][mic][name]
        for name in ("concealedSamples", "totalSamplesReceived")
    }
    seconds = (times.ended - times.begun) / 1000
    readable = [one["right"] for one in seen if one.get("right") is not None]
    return {
        "fps": len(seen) / seconds,
        "freezes": sum(gap > FREEZE_MS for gap in gaps),
        "longest_ms": max(gaps),
        "kbit_s": video["bytesReceived"] * 8 / 1000 / seconds,
        "quantiser": _share(video["qpSum"], video["framesDecoded"]),
        "text_right_percent": 100 * sum(readable) / len(readable) if readable else None,
        "concealed_percent": _percent(speech["concealedSamples"], speech["totalSamplesReceived"]),
        "student_plis": video["pliCount"],
        "nacks": video["nackCount"],
        "picture_ms": _picture_ms(seen, times),
        "moves_ms": _moves_ms(seen, times),
        "full_ms": _full_ms(seen, times),
    }


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _percent(part: float, whole: float) -> float | None:
    share = _share(part, whole)
    return None if share is None else 100 * share


def _picture_ms(seen: Sequence[dict[str, Any]], times: Times) -> float | None:
    """After the mending, until there is a picture of now."""
    if times.mended is None:
        return None
    late: Iterator[float] = (
        one["at_ms"] - times.mended
        for one in seen
        if one["at_ms"] >= times.mended and one["age_ms"] <= LIVE_MS
    )
    return next(late, None)


def _moves_ms(seen: Sequence[dict[str, Any]], times: Times) -> float | None:
    """After it got bad, until pictures came at least once a second for as long as it was."""
    if times.hurt is None or times.mended is None:
        return None
    at = [one["at_ms"] for one in seen if times.hurt <= one["at_ms"] <= times.mended]
    stamps = [times.hurt, *at, times.mended]
    moves_from = times.hurt
    for before, after in itertools.pairwise(stamps):
        if after - before > MOVES_GAP_MS:
            moves_from = after
    return None if moves_from == times.mended else moves_from - times.hurt


def _full_ms(seen: Sequence[dict[str, Any]], times: Times) -> float | None:
    """After the mending, until nearly all pictures came again, and went on to."""
    if times.mended is None:
        return None
    at: list[float] = [one["at_ms"] for one in seen]
    wanted = FPS * FULL_OVER_MS / 1000 * FULL_SHARE
    starts = [ms for ms in at if times.mended <= ms <= times.ended - FULL_OVER_MS]
    for start in starts:
        if sum(start <= ms < start + FULL_OVER_MS for ms in at) >= wanted:
            return start - times.mended
    return None


def worst(of: Sequence[Figures]) -> Figures:
    """Return the worst of several students in each figure; one that has none where any has none."""
    best_is_most = {"fps", "text_right_percent", "kbit_s"}
    return {
        name: _worst([one[name] for one in of], most_is_best=name in best_is_most) for name in of[0]
    }


def _worst(values: Sequence[float | None], *, most_is_best: bool) -> float | None:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    return min(known) if most_is_best else max(known)
