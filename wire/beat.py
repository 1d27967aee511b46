"""What a node tells control, and what it hears back.

Internal HTTP API of `web`, msgpack both ways:

| request                | body     | answer          | authorised by                                  |
|------------------------|----------|-----------------|------------------------------------------------|
| POST /internal/nodes   | Register | 200 Registered  | Bearer <cluster secret>                        |
| POST /internal/beat    | Beat     | 200 BeatAnswer  | Bearer <secret of that node's registration>    |

A node registers once per boot under an id of its own making, then beats every `BEAT_INTERVAL_S`,
and at once when a session ends. A beat that is refused (401, 409, 410) means: this boot is no longer
a node; drop every session and register anew under a new id. 412: a beat of this number or a later one
was taken already; the next one has a higher number. A registration under the `internal_url` of an
earlier boot ends that boot's lease: only one process can listen there.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

BEAT_INTERVAL_S = 2.0
LEASE_S = 10.0  # on PostgreSQL's clock; a node that is silent for longer is reaped
# A node that no control has answered for this long stops forwarding: before its lease ends elsewhere.
FENCE_S = LEASE_S - 2.0
DIGEST_INTERVAL_S = 30.0
EVENTS_PER_BEAT_MAX = 5000
# Each is a transaction that the beat waits for; a node says the others in its next beats.
LOST_LINKS_PER_BEAT_MAX = 32

EndReason = Literal[
    "left",  # the leave button
    "pagehide",  # the page was closed
    "disconnected",  # silence
    "replaced",  # the same person came again
    "class_ended",
    "node_lost",
    "never_connected",
    "handshake_failed",  # DTLS did not complete, or the fingerprint is another one
    "node_drained",
]


@dataclass(frozen=True, slots=True)
class Register:
    """A node's first words after its start."""

    node_id: str  # UUID, one per boot
    secret: str  # made by the node; both directions prove themselves with it
    internal_url: str  # http://host:port or unix:/path
    addresses: tuple[tuple[str, int], ...]  # media addresses that clients reach
    version: str


@dataclass(frozen=True, slots=True)
class Registered:
    """The node may serve; its lease runs."""

    lease_s: float


@dataclass(frozen=True, slots=True)
class SessionEvent:
    """Something that happened to one session; kept in the node's outbox until a beat is answered.

    `ms_ago` is counted back from the sending of this beat on the node's monotonic clock, and
    computed anew on each resend. When that was on the database's clock, `Beat.sent_at` says.
    """

    kind: Literal["connected", "ended"]
    session_id: str
    fence: int
    ms_ago: int
    reason: EndReason | None = None  # of an end


@dataclass(frozen=True, slots=True)
class Load:
    """How busy the node is; placement prefers the least busy."""

    sessions: int
    classes: int
    egress_bps: int
    cpu: float  # cores used by the process in the last second, 0..n
    loop_lag_ms: float  # of Python's loop, the worst since the last beat
    native_lag_ms: float = 0.0  # of the media thread, the worst of the last second


@dataclass(frozen=True, slots=True)
class HeldSession:
    """One session of a full exchange."""

    session_id: str
    fence: int
    connected: bool


@dataclass(frozen=True, slots=True)
class LostLink:
    """The class's upstream on this node (`wire.link`) is silent, or was refused: it needs another one."""

    class_id: str
    link_id: str


@dataclass(frozen=True, slots=True)
class Beat:
    """One beat: what changed since the last answered one, and how busy the node is."""

    node_id: str
    sequence: int  # of this node's attempts to beat, from 1: what comes after a later one is void
    cursor: int  # as last answered; 0 at first
    load: Load
    events: tuple[SessionEvent, ...] = ()
    # The database's clock at the sending of this attempt, as reckoned from `BeatAnswer.at`, in seconds since
    # 1970; None: not known. A beat may wait in the socket of a process that stands still.
    sent_at: float | None = None
    # `digest_of` the sessions held, or of those connected (control takes both, as a session that is
    # not connected yet may be known to one side only); every DIGEST_INTERVAL_S.
    digest: bytes | None = None
    sessions: tuple[HeldSession, ...] | None = None  # the whole set, when it was asked for
    draining: bool = False  # the node is about to stop: it is to get no new classes
    leaving: bool = False  # the node holds nothing any more and stops: its lease need not run out
    # Said in every beat until another link was taken or the class is gone here.
    links_lost: tuple[LostLink, ...] = ()


@dataclass(frozen=True, slots=True)
class Revocation:
    """Close this session on the node: another seat or the class's end took its place."""

    session_id: str
    fence: int
    reason: EndReason


@dataclass(frozen=True, slots=True)
class EndedClass:
    """Close the class's sessions that were opened under `epoch` or a lower one: those that are opened
    after the class was reopened go on."""

    class_id: str
    epoch: int


@dataclass(frozen=True, slots=True)
class MovedClass:
    """The class was placed on another node under `epoch`; sessions of earlier placements follow it."""

    class_id: str
    epoch: int


@dataclass(frozen=True, slots=True)
class BeatAnswer:
    """What a node must know.

    `accepted` is false when control could not write the events (its database is away, `hold`): the
    node keeps them and goes on serving. Revocations and ends repeat until the cursor passes them.
    """

    cursor: int
    at: float | None = None  # the database's clock when the beat came, in seconds since 1970
    accepted: bool = True
    hold: bool = False
    revoked: tuple[Revocation, ...] = ()
    ended_classes: tuple[EndedClass, ...] = ()
    send_sessions: bool = False
    draining: bool = False  # an operator wants the node empty and stopped
    moved_classes: tuple[MovedClass, ...] = ()  # their sessions here are to follow


def digest_of(sessions: list[tuple[str, int]]) -> bytes:
    """Return a digest of a set of (session_id, fence), 16 bytes, independent of their order."""
    text = "\n".join(f"{session_id}:{fence}" for session_id, fence in sorted(sessions))
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
