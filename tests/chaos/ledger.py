"""What clients know themselves about their stays; times are Unix seconds of this machine's clock, which
is the database's as well."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from uuid import UUID

BEAT_S = 2.0


@dataclass
class Stay:
    """One client's time in one session, from its offer to its end."""

    user_id: UUID
    class_id: UUID
    posted_at: float
    session_id: UUID | None = None  # None: no 201 came, so nobody was promised anything
    node_id: UUID | None = None
    gone_at: float | None = None  # the client exists no more
    how: str = ""  # left, pagehide, vanished, closed, replaced
    node_gone_at: float | None = None  # its node was killed, or stopped for longer than a lease
    leave_sent_at: float | None = None
    leave_answered_at: float | None = None
    revoked_at: float | None = None
    heard_at: float = 0.0  # the last media packet

    def end(self, how: str) -> None:
        if self.gone_at is None:
            self.gone_at, self.how = time.time(), how


@dataclass(frozen=True)
class Outage:
    """A fault and how long something did not answer because of it."""

    what: str
    began: float
    ended: float


@dataclass
class Ledger:
    stays: list[Stay] = field(default_factory=list)
    outages: list[Outage] = field(default_factory=list)

    def open_stay(self, user_id: UUID, class_id: UUID) -> Stay:
        stay = Stay(user_id, class_id, time.time())
        self.stays.append(stay)
        return stay

    @property
    def acknowledged(self) -> list[Stay]:
        return [stay for stay in self.stays if stay.session_id is not None]

    def outage_s(self, began: float, ended: float) -> float:
        """Return for how long between two times something did not answer."""
        return sum(
            max(0.0, min(ended, outage.ended) - max(began, outage.began)) for outage in self.outages
        )

    def node_is_gone(self, node_id: UUID, at: float) -> None:
        """Note that a node was killed or stopped: its clients were connected until then."""
        for stay in self.stays:
            if stay.node_id == node_id:
                stay.node_gone_at = at
