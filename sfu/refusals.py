"""What clients send and Python does not take, counted for the whole node; the core counts the rest."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Refusals:
    """Numbers that only grow, since the node's start."""

    dtls_records: int = 0  # datagrams of a connected session that held nothing genuine
    dtls_over_share: int = 0  # datagrams of clients that used up their share of the loop
    dtls_waiting: int = 0  # datagrams that found a session's queue full
    sctp_associations: int = 0  # ended, because the peer kept to no bounds
    live_messages: int = 0  # malformed, unknown, too long or too many
