"""Options and their limits, and limits of a process that a benchmark needs raised before it starts."""

from __future__ import annotations

import argparse
import importlib.util
import resource
import sys
from collections.abc import Iterable
from pathlib import Path

from benchmarks.registry import BenchmarkError

# Besides a socket for each viewer.
DESCRIPTORS_SPARE = 200


def allow_descriptors(viewers: int) -> None:
    """Allow a socket for each viewer; children inherit it. BenchmarkError where the system does not."""
    needed = viewers + DESCRIPTORS_SPARE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise BenchmarkError(f"{viewers} viewers need {needed} descriptors; the limit is {hard}.")
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def add_numbers(
    parser: argparse.ArgumentParser, options: Iterable[tuple[str, type, float, str]]
) -> None:
    """Add options that are numbers, of (name, type, default, what it is)."""
    for name, kind, default, text in options:
        parser.add_argument(
            f"--{name}", type=kind, default=default, help=f"{text} (default {default:g})"
        )


def require(bounds: Iterable[tuple[str, bool]]) -> None:
    """BenchmarkError for the first option that is not within its bounds, of (name, whether it is)."""
    for name, holds in bounds:
        if not holds:
            raise BenchmarkError(f"{name} is out of bounds.")


def need_browsers() -> None:
    """Make the tests' browsers, pages and lines importable; BenchmarkError where they are not here.

    They are no part of what is installed.
    """
    root = str(Path(__file__).resolve().parents[1])
    if root not in sys.path:
        sys.path.append(root)
    for needed in ("tests.browser", "playwright"):
        try:
            missing = importlib.util.find_spec(needed) is None
        except ModuleNotFoundError:
            missing = True
        if missing:
            raise BenchmarkError(f"{needed} is missing: run it in a checkout, after make setup.")
