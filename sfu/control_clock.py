"""The database's clock, as a node reckons it from the answers to its beats."""

from __future__ import annotations

from dataclasses import dataclass

# Clocks drift by some 50 ppm: 3 ms in a minute.
READING_AGE_MAX_S = 60.0


@dataclass(frozen=True, slots=True)
class _Reading:
    ahead_s: float  # of our monotonic clock
    travel_s: float  # there and back; the reading is wrong by half of it at the most
    taken_at_s: float


class ControlClock:
    """Keeps the reading that travelled the least of the last minute (as NTP does, RFC 5905 section 10).

    Times in seconds: `at` since 1970, those that end in `_s` on the monotonic clock.
    """

    def __init__(self) -> None:
        self._best: _Reading | None = None

    def learn(self, at: float, sent_at_s: float, received_at_s: float) -> None:
        """Take a reading of the other clock that was made between our sending and our receiving."""
        middle_s = (sent_at_s + received_at_s) / 2
        reading = _Reading(at - middle_s, received_at_s - sent_at_s, received_at_s)
        best = self._best
        if (
            best is None
            or reading.travel_s <= best.travel_s
            or received_at_s - best.taken_at_s > READING_AGE_MAX_S
        ):
            self._best = reading

    def at(self, moment_s: float) -> float | None:
        """Return what the other clock showed at a moment of ours; None while nothing was learnt."""
        return None if self._best is None else moment_s + self._best.ahead_s
