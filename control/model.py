"""What control tells other packages about people, seats and nodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from uuid import UUID

Role = Literal["teacher", "student"]


@dataclass(frozen=True, slots=True)
class Account:
    account_id: UUID
    name: str
    role: Role
    is_operator: bool


@dataclass(frozen=True, slots=True)
class Admission:
    """A committed seat (or the host's own) and the session that may now be opened on a node."""

    session_id: UUID
    fence: int
    class_id: UUID
    class_title: str
    capacity: int
    user_id: UUID
    name: str
    is_host: bool
    # The node that is written down for the session already, None where there is none yet.
    node_id: UUID | None = None
    # The class's placement_epoch at the admission: word of an end that carries a lower one is older.
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class NodeAddress:
    node_id: UUID
    internal_url: str  # http://host:port or unix:/path
    secret: str
    # Where clients reach its media by UDP; empty where it was not asked for.
    media: tuple[tuple[str, int], ...] = ()
    # placement_epoch of the class that was asked for; 0: of none.
    epoch: int = 0
