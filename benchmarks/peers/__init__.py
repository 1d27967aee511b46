"""Media servers to be measured side by side. Another is a module with a `Peer`, and a line in `make`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, Self

from benchmarks.clients.handshake import Handshake, Keys, Remote, bound_socket, shake_hands
from benchmarks.registry import BenchmarkError

HANDSHAKES_TIMEOUT_S = 60.0
# At once on their way: more than that in one burst is a load test of the handshake.
HANDSHAKES_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Seat:
    """One session that a server has answered: what it sends or takes, and where it listens.

    `transport_cc` is the header extension's id for transport-wide numbers, 0 where there are none.
    """

    ssrc: int
    remote: Remote
    transport_cc: int


@dataclass(frozen=True, slots=True)
class PlainSource:
    """Where a server takes RTP without keys."""

    ssrc: int
    address: str
    port: int


class Peer(Protocol):
    """One media server under test, started by `__enter__` and ended by `__exit__`.

    `pids` are all processes of the server; their processor time is what it costs.
    """

    name: str
    version: str
    pids: list[int]

    def __enter__(self) -> Self: ...
    def __exit__(self, *error: object) -> None: ...

    def open_source(self, port: int) -> Seat | PlainSource:
        """Make room for the teacher, whose socket has this port."""

    def open_viewer(self, port: int) -> Seat:
        """Seat one more viewer, whose socket has this port."""


def make(name: str, address: str) -> Peer:
    """Return a peer by name, not started yet."""
    from benchmarks.peers.janus import JanusStreaming, JanusVideoRoom
    from benchmarks.peers.lectern import LecternPeer

    makers: dict[str, Callable[[str], Peer]] = {
        "lectern": LecternPeer,
        "janus-streaming": JanusStreaming,
        "janus-videoroom": JanusVideoRoom,
    }
    if name not in makers:
        raise BenchmarkError(f"There is no peer {name!r}: it is one of {', '.join(makers)}.")
    return makers[name](address)


def connect(peer: Peer, viewers: int) -> list[str]:
    """Bring a teacher and viewers to their keys; return their lines of the generator's plan."""
    lines = [_source_line(peer)]
    while viewers > 0:
        some = min(viewers, HANDSHAKES_AT_ONCE)
        sockets = [bound_socket() for _ in range(some)]
        seats = [peer.open_viewer(one.getsockname()[1]) for one in sockets]
        hands = [Handshake(seat.remote, one) for seat, one in zip(seats, sockets, strict=True)]
        try:
            shake_hands(hands, within_s=HANDSHAKES_TIMEOUT_S)
        finally:
            for one in sockets:
                one.close()
        for seat, hand in zip(seats, hands, strict=True):
            lines.append("viewer " + line_of(seat, hand))
        viewers -= some
    return lines


def _source_line(peer: Peer) -> str:
    made = bound_socket()
    try:
        source = peer.open_source(made.getsockname()[1])
        if isinstance(source, PlainSource):
            return f"source {source.ssrc} {source.address}:{source.port}"
        hand = Handshake(source.remote, made)
        shake_hands([hand], within_s=HANDSHAKES_TIMEOUT_S)
        return "publisher " + line_of(source, hand)
    finally:
        made.close()


def line_of(seat: Seat, hand: Handshake) -> str:
    """Return a session as the generator reads it; the socket is closed here, its port goes on there."""
    keys, remote = hand.keys, seat.remote
    assert isinstance(keys, Keys)
    return (
        f"{seat.ssrc} {remote.ice_ufrag} {remote.ice_pwd} {keys.local.hex()} {keys.remote.hex()}"
        f" node={remote.address}:{remote.port} port={hand.port} profile={keys.profile}"
        f" cc={seat.transport_cc}"
    )
