"""What a benchmark found: filled while it runs, so that an interrupted one has something to say."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

Value = str | int | float | bool | None
Row = dict[str, Value]


@dataclass(frozen=True, slots=True)
class Curve:
    """A plot of columns of one table."""

    table: str
    x: str
    ys: Sequence[str]
    x_is_logarithmic: bool = False


@dataclass(slots=True)
class Report:
    """Figures, tables and what was expected of them. Names of figures end in their unit."""

    name: str
    figures: dict[str, Value] = field(default_factory=dict)
    tables: dict[str, list[Row]] = field(default_factory=dict)
    curves: list[Curve] = field(default_factory=list)
    expectations: dict[str, bool] = field(default_factory=dict)
    is_partial: bool = False

    def say(self, text: str) -> None:
        """Tell on standard error how it goes; standard output belongs to the result."""
        print(f"{self.name}: {text}", file=sys.stderr, flush=True)

    def add_row(self, table: str, row: Row) -> None:
        """Append a row; all rows of a table have the same columns."""
        self.tables.setdefault(table, []).append(row)

    def expect(self, what: str, holds: bool) -> None:
        """Note whether a bound holds, in words like "us_per_packet <= 6"; one that does not fails the run."""
        self.expectations[what] = holds

    @property
    def not_held(self) -> list[str]:
        """The expectations that do not hold."""
        return [what for what, holds in self.expectations.items() if not holds]


def machine() -> dict[str, Value]:
    """Return on what it was measured: figures of two machines are not to be compared."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": _cpu_model(),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def _cpu_model() -> str:
    with open("/proc/cpuinfo") as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
