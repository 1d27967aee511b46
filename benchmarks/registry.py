"""Which benchmarks there are. A new one is a module with a `BENCHMARK` and a line here."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.report import Report


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One benchmark.

    `description` says what is measured, how, and what is left out; it stands in `--help`. `run` fills the
    report as it goes, so that an interrupted run still says what it found; it may raise BenchmarkError, and
    on KeyboardInterrupt it ends what it started and raises it again.
    """

    description: str
    add_options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, Report], None]


class BenchmarkError(Exception):
    """The benchmark cannot be run here; the text is a sentence for whoever runs it."""


# Imported when asked for: a benchmark may load much. Name -> its line in the list of benchmarks.
SUMMARIES: dict[str, str] = {
    "fanout": "what a packet costs a media node, from a teacher to hundreds of viewers",
    "comments": "what comments cost a node, from many writers to thousands of readers",
    "compare": "what a packet costs us, and what it costs Janus, in one run",
    "lines": "what a student in a real Chromium sees on bad lines, and beside Janus",
    "encodings": "what a screen costs a real Chromium in each codec and layering, and how sharp it is",
    "join": "what a join costs a node, when the picture comes, and what others notice",
    "density": "memory and processor time of a node for each viewer, idle and active",
    "capacity": "how many viewers a node here or a deployment elsewhere carries, and what gives way first",
    "soak": "whether a node grows while viewers and classes come and go",
    "admission": "seats per second, a race of everything at once, and how both age",
    "failover": "how long students see nothing when a media node dies or is drained",
    "scale": "a million classes created, joined, beaten for and ended by the control plane",
}


def load(name: str) -> Benchmark:
    """Return the benchmark of this name, one of `SUMMARIES`."""
    module = importlib.import_module(f"benchmarks.{name}")
    benchmark: Benchmark = module.BENCHMARK
    return benchmark
