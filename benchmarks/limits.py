"""Limits: of options, and of a process that a benchmark needs raised before it starts anything."""

from __future__ import annotations

import resource
from collections.abc import Iterable

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


def require(bounds: Iterable[tuple[str, bool]]) -> None:
    """BenchmarkError for the first option that is not within its bounds, of (name, whether it is)."""
    for name, holds in bounds:
        if not holds:
            raise BenchmarkError(f"{name} is out of bounds.")
