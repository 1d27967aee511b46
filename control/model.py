"""What control tells other packages about people, seats and nodes."""

from __future__ import annotations

from dataclasses import dataclass, field
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
    # Where a person who comes back to a seat was before.
    stays_on: UUID | None = None


@dataclass(frozen=True, slots=True)
class NodeAddress:
    node_id: UUID
    internal_url: str  # http://host:port or unix:/path
    secret: str
    # Where clients reach its media by UDP; empty where it was not asked for.
    media: tuple[tuple[str, int], ...] = ()
    # placement_epoch of the class that was asked for; 0: of none.
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class Link:
    """What hangs an edge of a class on its parent (`wire.link`), as PostgreSQL has it."""

    class_id: UUID
    link_id: UUID
    version: int  # each new link of an edge has one more
    placement: int  # placement_epoch of the class
    key: bytes = field(repr=False)
    path: tuple[UUID, ...]  # from the origin to the parent
    parent: NodeAddress
    child: NodeAddress
    told: bool  # both have taken it


@dataclass(frozen=True, slots=True)
class ViewerPlace:
    """The node that is to serve a viewer; `link` where it is an edge of the class."""

    node: NodeAddress
    link: Link | None = None


@dataclass(frozen=True, slots=True)
class TreeChange:
    """What nodes have to hear after a class's tree has changed, committed."""

    class_id: UUID
    placement: int = 0
    links: tuple[Link, ...] = ()  # new ones
    dropped: tuple[NodeAddress, ...] = ()  # edges that are none any more: whom they have is to go
    closed: tuple[Link, ...] = ()  # nobody uses them
