"""What a node tells Prometheus about itself; docs/operations.md says what each figure means.

Labels are roles, states, reasons and outcomes: sets that the code fixes. Nothing is told by class, session
or person: their number has no bound, and each would be a time series of its own.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.process_collector import ProcessCollector

from sfu.session import State
from wire.beat import EndReason
from wire.session import Role

if TYPE_CHECKING:
    from sfu.node import Node
    from sfu.session import Session

# A second series for each counter, which nothing here reads.
disable_created_metrics()  # type: ignore[no-untyped-call]

# Sessions whose counters are read in one tick of the node: about half a millisecond, so that thousands
# of them delay nothing. A node with 2,000 sessions has gone round in 10 s.
SESSIONS_PER_TICK_MAX = 50
LAG_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)

# Of the whole node: (its counter, ours, what it says, labels, divided by).
_NODE_COUNTERS: tuple[tuple[str, str, str, dict[str, str], int], ...] = (
    ("bytes_in", "received_bytes", "Bytes that came, without IP and UDP headers.",
     {"transport": "udp"}, 1),
    ("tcp_bytes_in", "received_bytes", "", {"transport": "tcp"}, 1),
    ("bytes_out", "sent_bytes", "Bytes that were sent, without IP and UDP headers.",
     {"transport": "udp"}, 1),
    ("tcp_bytes_out", "sent_bytes", "", {"transport": "tcp"}, 1),
    ("media_packets_in", "media_packets_received", "SRTP and SRTCP packets that came.", {}, 1),
    ("media_packets_out", "media_packets_sent", "Media packets that were sealed and sent.", {}, 1),
    ("keyframes_asked", "keyframe_requests_sent", "PLIs sent to publishers.", {}, 1),
    ("media_packets_refused", "datagrams_refused",
     "Datagrams that were dropped: forged, replayed, malformed, too many or nobody's.",
     {"kind": "media"}, 1),
    ("media_packets_over_rate", "datagrams_refused", "", {"kind": "media_over_rate"}, 1),
    ("media_packets_malformed", "datagrams_refused", "", {"kind": "media_malformed"}, 1),
    ("media_packets_of_unknown_ssrc", "datagrams_refused", "", {"kind": "unknown_ssrc"}, 1),
    ("stun_requests", "stun_requests", "STUN messages that came, refused ones among them.", {}, 1),
    ("stun_refused", "datagrams_refused", "", {"kind": "stun"}, 1),
    ("dtls_datagrams_refused", "datagrams_refused", "", {"kind": "dtls"}, 1),
    ("datagrams_of_unknown_path", "datagrams_refused", "", {"kind": "unknown_path"}, 1),
    ("datagrams_of_unknown_kind", "datagrams_refused", "", {"kind": "unknown_kind"}, 1),
    ("tcp_refused", "tcp_connections_refused",
     "TCP connections that met a bound.", {"bound": "refused"}, 1),
    ("tcp_evicted", "tcp_connections_refused", "", {"bound": "evicted"}, 1),
    ("tcp_accept_errors", "tcp_connections_refused", "", {"bound": "descriptors"}, 1),
    ("tcp_closed_unchecked", "tcp_connections_refused", "", {"bound": "unchecked"}, 1),
    ("tcp_closed_malformed", "tcp_connections_refused", "", {"bound": "malformed"}, 1),
    ("tcp_closed_idle", "tcp_connections_refused", "", {"bound": "idle"}, 1),
    ("tcp_datagrams_dropped", "datagrams_dropped",
     "Datagrams of ours that found no room.", {"where": "tcp_backlog"}, 1),
    ("answers_dropped", "datagrams_dropped", "", {"where": "answers"}, 1),
    ("events_dtls_dropped", "datagrams_dropped", "", {"where": "dtls_in"}, 1),
    ("commands_dtls_dropped", "datagrams_dropped", "", {"where": "dtls_out"}, 1),
    ("receive_overflows", "receive_overflows",
     "Datagrams that the kernel dropped because nobody fetched them.", {}, 1),
    ("send_again", "send_blocked", "Sends that the kernel put off (EAGAIN).", {}, 1),
    ("send_errors", "send_errors", "Sends that the kernel refused.", {}, 1),
    ("cpu_us", "native_cpu_seconds", "CPU time of the media thread.", {}, 1_000_000),
)  # fmt: skip

# The same of `Refusals`, which are counted in Python.
_REFUSALS: tuple[tuple[str, str, str, dict[str, str]], ...] = (
    ("dtls_records", "datagrams_refused", "", {"kind": "dtls_record"}),
    ("dtls_over_share", "datagrams_refused", "", {"kind": "dtls_over_share"}),
    ("dtls_waiting", "datagrams_dropped", "", {"where": "dtls_queue"}),
    ("sctp_associations", "sctp_associations_refused",
     "SCTP associations that were ended because the peer kept to no bounds.", {}),
    ("live_messages", "messages_refused",
     "Messages on the data channel that were malformed, unknown, too long or too many.", {}),
)  # fmt: skip

# Of the sessions, added up; those of sessions that have ended stay in.
_SESSION_COUNTERS: tuple[tuple[Role, str, str, str], ...] = (
    ("viewer", "nacks", "nacks_received", "Packets that viewers asked for again."),
    ("viewer", "nacks_refused", "nacks_refused",
     "Of those, the ones beyond what a viewer may have sent again."),
    ("viewer", "packets_repaired", "retransmissions_sent", "Packets sent again to viewers (RTX)."),
    ("viewer", "picture_losses", "plis_received", "PLIs and FIRs of viewers."),
    ("viewer", "feedback_packets", "packets_reported",
     "Packets whose arrival viewers reported on (transport-wide feedback)."),
    ("viewer", "feedback_packets_lost", "packets_reported_lost",
     "Of those, the ones that did not arrive."),
    ("viewer", "skips", "viewer_skips", "Times that a viewer was moved on to a newer keyframe."),
    ("publisher", "packets_received", "publisher_packets_received",
     "Media packets that came from publishers."),
    ("publisher", "packets_nacked", "nacks_sent", "Packets that publishers were asked for again."),
    ("publisher", "packets_repaired", "publisher_packets_repaired",
     "Packets of publishers that came when asked for again."),
    ("publisher", "packets_given_up", "publisher_packets_lost",
     "Packets of publishers that never came."),
)  # fmt: skip


class NodeMetrics:
    """One node's figures: counted here, asked of the node, or read off its native core."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._tally = _Tally()
        self._turn: list[int] = []
        self._registry = registry = CollectorRegistry()
        self._opened = Counter(
            "lectern_sessions_opened", "Sessions opened.", ["role"], registry=registry
        )
        self._ended = Counter(
            "lectern_sessions_ended", "Sessions ended.", ["role", "reason"], registry=registry
        )
        self._beats = Counter(
            "lectern_node_beats", "Beats sent to control.", ["outcome"], registry=registry
        )
        self._lag = Histogram(
            "lectern_event_loop_lag_seconds",
            "How late the event loop was for a timer, four times a second.",
            buckets=LAG_BUCKETS_S,
            registry=registry,
        )
        roles: tuple[Role, ...] = typing.get_args(Role)
        for role in roles:  # a series that is not there yet cannot be told from one that is zero
            self._opened.labels(role)
            for reason in typing.get_args(EndReason):
                self._ended.labels(role, reason)
        ProcessCollector(registry=registry)
        registry.register(_Asked(node, self._tally))

    def text(self) -> bytes:
        """Return everything in Prometheus's text format."""
        return generate_latest(self._registry)

    def opened(self, session: Session) -> None:
        self._opened.labels(session.opening.role).inc()

    def ended(self, session: Session, reason: EndReason) -> None:
        self._ended.labels(session.opening.role, reason).inc()

    def released(self, session: Session) -> None:
        """Add what a session counted to its end."""
        self._tally.last(session.number, session.opening.role, session.counted)

    def beat(self, outcome: str) -> None:
        """Count a beat: `accepted`, `held`, `refused` or `unanswered`."""
        self._beats.labels(outcome).inc()

    def tick(self, sessions: dict[int, Session], late_s: float) -> None:
        """Note the loop's lag and read the counters of some sessions, round and round."""
        self._lag.observe(max(late_s, 0.0))
        if not self._turn:
            self._turn = list(sessions)
        for number in self._turn[-SESSIONS_PER_TICK_MAX:]:
            session = sessions.get(number)
            if session is not None:
                stats = self._node.media.session_stats(number) or {}
                self._tally.add(number, session.opening.role, stats)
        del self._turn[-SESSIONS_PER_TICK_MAX:]


class _Tally:
    """Sums over sessions that only grow, while sessions come and go."""

    def __init__(self) -> None:
        self.sums = {name: 0 for _, _, name, _ in _SESSION_COUNTERS}
        self._seen: dict[int, dict[str, int]] = {}  # by session, what is in the sums already

    def add(self, number: int, role: Role, stats: dict[str, int]) -> None:
        seen = self._seen.setdefault(number, {})
        for of, counter, name, _ in _SESSION_COUNTERS:
            if of == role and (value := stats.get(counter, 0)) > seen.get(counter, 0):
                self.sums[name] += value - seen.get(counter, 0)
                seen[counter] = value

    def last(self, number: int, role: Role, stats: dict[str, int]) -> None:
        self.add(number, role, stats)
        del self._seen[number]


class _Asked:
    """What is looked up when somebody asks."""

    def __init__(self, node: Node, tally: _Tally) -> None:
        self._node = node
        self._tally = tally

    def collect(self) -> Iterator[Any]:
        yield from self._of_node()
        stats = self._node.media.stats()
        families: dict[str, CounterMetricFamily] = {}
        for counter, name, help, labels, divisor in _NODE_COUNTERS:
            if name not in families:
                families[name] = CounterMetricFamily(f"lectern_{name}", help, labels=[*labels])
            families[name].add_metric([*labels.values()], stats.get(counter, 0) / divisor)
        for counter, name, help, labels in _REFUSALS:
            if name not in families:
                families[name] = CounterMetricFamily(f"lectern_{name}", help, labels=[*labels])
            value = getattr(self._node.refusals, counter)
            families[name].add_metric([*labels.values()], value)
        yield from families.values()
        for _, _, name, help in _SESSION_COUNTERS:
            yield CounterMetricFamily(f"lectern_{name}", help, value=self._tally.sums[name])
        yield from self._of_links()
        yield GaugeMetricFamily(
            "lectern_native_loop_lag_seconds",
            "How late the media thread was, at worst, over the last two seconds.",
            value=stats.get("loop_lag_us_max", 0) / 1_000_000,
        )
        yield GaugeMetricFamily(
            "lectern_tcp_connections",
            "TCP connections open.",
            value=stats.get("tcp_connections", 0),
        )

    def _of_links(self) -> Iterator[Any]:
        links = self._node.cascade.figures()
        up = GaugeMetricFamily("lectern_links", "Links to other nodes.", labels=["end"])
        up.add_metric(["child"], links.above)
        up.add_metric(["parent"], links.below)
        yield up
        yield GaugeMetricFamily(
            "lectern_links_lost",
            "Links to parents that are lost and not replaced.",
            value=links.lost,
        )
        yield GaugeMetricFamily(
            "lectern_link_depth_max",
            "Nodes above this one, of the class with the most.",
            value=links.depth,
        )
        for name, help, value in (
            ("packets_received", "Media packets that came over links.", links.packets_in),
            ("packets_sent", "Media packets that were sent over links.", links.packets_out),
            ("packets_lost", "Packets of links that never came.", links.packets_lost),
            ("packets_repaired", "Packets of links that were sent or came again.",
             links.packets_repaired),
        ):  # fmt: skip
            yield CounterMetricFamily(f"lectern_link_{name}", help, value=value)

    def _of_node(self) -> Iterator[Any]:
        node = self._node
        info = GaugeMetricFamily(
            "lectern_node_info", "Which boot of which version this is.", labels=["node", "version"]
        )
        info.add_metric([node.node_id, node.version], 1)
        yield info
        roles: tuple[Role, ...] = typing.get_args(Role)
        held = {(role, state): 0 for role in roles for state in typing.get_args(State)}
        for session in node.sessions.values():
            held[session.opening.role, session.state] += 1
        sessions = GaugeMetricFamily(
            "lectern_sessions", "Sessions held, by state.", labels=["role", "state"]
        )
        for (role, state), count in held.items():
            sessions.add_metric([role, state], count)
        yield sessions
        yield GaugeMetricFamily(
            "lectern_viewers", "Viewers connected.", value=held["viewer", "connected"]
        )
        yield GaugeMetricFamily(
            "lectern_publishers", "Teachers connected.", value=held["publisher", "connected"]
        )
        yield GaugeMetricFamily(
            "lectern_classes_live", "Classes with anybody in them.", value=len(node.rooms)
        )
        yield GaugeMetricFamily(
            "lectern_node_registered", "Whether control knows the node.", value=node.registered
        )
