"""How large the world of a run is, and what one web process has of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Size:
    """How much there is of everything, in all; `clients` are those of one process."""

    classes: int
    students: int  # of each class
    nodes: int
    processes: int
    clients: int
    steady_s: float


@dataclass(frozen=True, slots=True)
class Share:
    """The people and nodes of one process. Class n is taught by teacher n."""

    teachers: list[UUID]
    students: list[UUID]
    nodes: list[UUID]
    others: frozenset[UUID]  # nodes of other processes
    clients: int


@dataclass(frozen=True, slots=True)
class Phase:
    """One job of a process: a phase's name, or for how long to do nothing but beat."""

    name: str
    seconds: float = 0.0


@dataclass(slots=True)
class Told:
    """What a process says of a phase. Moments are of CLOCK_MONOTONIC, which all processes share."""

    done: int = 0
    started_at: float = 0.0
    finished_at: float = 0.0
    cpu_s: float = 0.0
    delays_ms: list[float] = field(default_factory=list)
    beats: int = 0
    late_beats: int = 0
    held_beats: int = 0
    lost_nodes: int = 0
    tried_again: int = 0  # the database was too slow for an attempt
    beat_ms: list[float] = field(default_factory=list)
