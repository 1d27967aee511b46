"""Holds the clients' ledger against the database; every violation is a sentence."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import asyncpg

from tests.chaos.ledger import BEAT_S, Ledger, Stay

INVARIANTS = (Path(__file__).parent / "invariants.sql").read_text()
LEAVE_S = 0.5
SILENCE_S = 2.0
# Without the node's word about silence, somebody else's word ends the segment: a new tab, the end of
# the class, the reaper. The node would have noticed the silence within 8 s.
UNDETECTED_S = 8.0 + SILENCE_S


async def violations(sql: asyncpg.Connection[asyncpg.Record], ledger: Ledger) -> list[str]:
    """Return everything that is wrong."""
    found = [f"{row['what']}: {row['id']}" for row in await sql.fetch(INVARIANTS)]
    segments = {row["session_id"]: row for row in await sql.fetch("SELECT * FROM attendance")}
    by_session: dict[Any, list[Stay]] = {}
    for stay in ledger.acknowledged:
        by_session.setdefault(stay.session_id, []).append(stay)
        row = segments.get(stay.session_id)
        if row is None or (row["user_id"], row["class_id"]) != (stay.user_id, stay.class_id):
            found.append(f"acknowledged join without a row: {stay}")
    for session_id, row in segments.items():
        if row["connected_at"] is not None:
            found += _attended(row, by_session.get(session_id, []), ledger)
    return found + _media_after_revocation(ledger)


def _attended(row: Any, stays: list[Stay], ledger: Ledger) -> list[str]:
    if not stays:
        return [f"attended without a client: {row}"]
    last = max(stays, key=lambda stay: stay.posted_at)
    # A resume that was never answered may have continued the session.
    unanswered = [
        s.gone_at or s.posted_at
        for s in ledger.stays
        if s.session_id is None and s.user_id == row["user_id"] and s.class_id == row["class_id"]
        and s.posted_at > last.posted_at and s.posted_at - (last.gone_at or time.time()) < 60
    ]  # fmt: skip
    ends = [time.time() if s.gone_at is None else s.gone_at for s in stays]
    left_at = time.time() if row["left_at"] is None else row["left_at"].timestamp()
    if row["left_at"] is None:
        # Who is gone must be noticed: silence, a lease, a report.
        allowed = max(ends) + 8.0 + 2 * BEAT_S + ledger.outage_s(max(ends), time.time()) + 12.0
        return [f"still attending without a client: {row} {last}"] if left_at > allowed else []
    if row["reason"] == last.how == "left" or row["reason"] == last.how == "pagehide":
        assert last.leave_sent_at is not None
        answered = last.leave_answered_at or time.time()
        if not last.leave_sent_at - LEAVE_S <= left_at <= answered + LEAVE_S:
            return [f"the end is not within {LEAVE_S} s of the leave: {row} {last}"]
        return []
    detected = row["reason"] == "disconnected"
    slack = SILENCE_S if detected else UNDETECTED_S
    if row["reason"] == "node_lost" and last.node_gone_at is not None:
        # Known until its last beat, and not beyond.
        ends, slack = [last.node_gone_at], BEAT_S
    if left_at > max([*ends, *(unanswered if detected else [])]) + slack:
        return [f"attended {left_at - max(ends):.1f} s without a client: {row} {last}"]
    if (
        detected
        and last.how == "vanished"
        and left_at
        < max(ends) - SILENCE_S - BEAT_S - (ledger.outage_s(max(ends) - 30, max(ends) + 30))
    ):
        return [f"the end is {max(ends) - left_at:.1f} s before the silence: {row} {last}"]
    return []


def _media_after_revocation(ledger: Ledger) -> list[str]:
    found = []
    for stay in ledger.acknowledged:
        if stay.revoked_at is None:
            continue
        # A beat that nobody could answer is none.
        deadline = stay.revoked_at + 2 * BEAT_S
        deadline += ledger.outage_s(stay.revoked_at - 3 * BEAT_S, deadline + 30) + 0.5
        if stay.heard_at > deadline:
            found.append(f"media flowed {stay.heard_at - stay.revoked_at:.1f} s after: {stay}")
    return found
