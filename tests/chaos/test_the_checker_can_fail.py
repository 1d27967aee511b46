"""Every violation that the chaos test looks for, planted and seen."""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from tests.chaos.checker import violations
from tests.chaos.ledger import Ledger

SEATED = """
    WITH teacher AS (INSERT INTO account (account_id, name, role)
                     VALUES (gen_random_uuid(), 'T', 'teacher') RETURNING account_id),
    person AS (INSERT INTO account (account_id, name, role)
               VALUES ($1, 'S', 'student') RETURNING account_id),
    lesson AS (INSERT INTO class (class_id, teacher_id, title, capacity, link, state, started_at,
                                  used, attendees)
               SELECT $2, account_id, 'C', 1, 'a link', 'live', now() - interval '1 h', 1, 1
               FROM teacher RETURNING class_id),
    met AS (INSERT INTO class_attendee SELECT class_id, account_id, now() FROM lesson, person),
    segment AS (INSERT INTO attendance (session_id, user_id, class_id, fence, joined_at, connected_at)
                SELECT $3, account_id, class_id, 1, now() - interval '1 min', now() - interval '59 s'
                FROM person, lesson)
    INSERT INTO seat (user_id, class_id, session_id, is_host, fence)
    SELECT account_id, class_id, $3, false, 1 FROM person, lesson
"""
FREED = "DELETE FROM seat; UPDATE class SET used = 0;"
ENDED = FREED + "UPDATE attendance SET left_at = now(), reason = 'disconnected';"

PLANTED: dict[str, str] = {
    "overlap": "INSERT INTO attendance SELECT gen_random_uuid(), user_id, class_id, NULL, 1,"
    " joined_at, NULL, now(), 'left', false FROM attendance",
    "open segment without a live seat": FREED,
    "live seat without an open segment": "UPDATE attendance SET left_at = now(), reason = 'left'",
    "used is not the seats": "UPDATE class SET used = 0",
    "over capacity": "ALTER TABLE class DROP CONSTRAINT class_never_over_capacity;"
    "UPDATE class SET used = 2",
    "segment ends after its class": ENDED
    + "UPDATE class SET state = 'ended', ended_at = now() - interval '5 s'",
    "segment ends after now": ENDED + "UPDATE attendance SET left_at = now() + interval '1 min'",
    "attendees is not who connected": "UPDATE class SET attendees = 2",
    "acknowledged join without a row": FREED + "DELETE FROM attendance; UPDATE class SET attendees=0",
    "attended without a client": "",
    "still attending without a client": "",
    "is not within 0.5 s of the leave": ENDED + "UPDATE attendance SET reason = 'left'",
    "attended 30.0 s without a client": ENDED,
    "before the silence": ENDED + "UPDATE attendance SET left_at = now() - interval '20 s'",
    "media flowed": "",
}  # fmt: skip


async def seated(url: str) -> tuple[asyncpg.Connection[asyncpg.Record], Ledger]:
    """Return a database and a ledger that agree: somebody sits in a class."""
    sql = await asyncpg.connect(url)
    user_id, class_id, session_id = uuid4(), uuid4(), uuid4()
    await sql.fetch(SEATED, user_id, class_id, session_id)
    ledger = Ledger()
    stay = ledger.open_stay(user_id, class_id)
    stay.session_id, stay.posted_at = session_id, time.time() - 60
    return sql, ledger


async def test_nothing_is_wrong_with_a_student_in_class(database_url: str) -> None:
    sql, ledger = await seated(database_url)
    assert await violations(sql, ledger) == []
    await sql.close()


@pytest.mark.parametrize("what", PLANTED)
async def test_a_planted_violation_is_reported(database_url: str, what: str) -> None:
    sql, ledger = await seated(database_url)
    (stay,) = ledger.stays
    _tell(ledger, stay, what)
    if PLANTED[what]:
        await sql.execute(PLANTED[what])
    assert [v for v in await violations(sql, ledger) if what in v], await violations(sql, ledger)
    await sql.close()


def _tell(ledger: Ledger, stay: Any, what: str) -> None:
    now = time.time()
    if what == "attended without a client":
        stay.session_id = UUID(int=1)
    elif what == "is not within 0.5 s of the leave":
        stay.how, stay.gone_at = "left", now - 3
        stay.leave_sent_at = stay.leave_answered_at = now - 3
    elif what == "before the silence":
        stay.how, stay.gone_at = "vanished", now
    elif "without a client" in what:
        stay.how, stay.gone_at = "vanished", now - 30 - ("still" in what)
    elif what == "media flowed":
        stay.revoked_at, stay.heard_at = now - 10, now
