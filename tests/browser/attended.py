"""Attendance of classes that took place, written into the database as it would have been."""

from __future__ import annotations

from datetime import datetime, timedelta

import psycopg

from control.ids import uuid7
from lectern.embedded import Places, Postgres
from tests.lectern.running import Up

Stay = tuple[float, float | None]  # minutes from the class's begin; None: still there


def connection(up: Up) -> psycopg.Connection:
    """Open the database of a running server."""
    return psycopg.connect(Postgres.running_url(Places.prepare(up.data)), autocommit=True)


def begin_earlier(up: Up, class_id: str, minutes: float) -> datetime:
    """Let a class have begun that long ago; return when that was."""
    with connection(up) as sql:
        row = sql.execute(
            "UPDATE class SET started_at = started_at - make_interval(secs => %s),"
            " created_at = created_at - make_interval(secs => %s + 3600)"
            " WHERE class_id = %s RETURNING started_at",
            (minutes * 60, minutes * 60, class_id),
        ).fetchone()
    assert row is not None
    began: datetime = row[0]
    return began


def attend(up: Up, class_id: str, began: datetime, people: dict[str, list[Stay]]) -> None:
    """Add people, by name, with their stays."""
    with connection(up) as sql, sql.cursor() as cursor, sql.transaction():
        for name, stays in people.items():
            account = uuid7()
            cursor.execute(
                "INSERT INTO account (account_id, name, role) VALUES (%s, %s, 'student')",
                (account, name),
            )
            attend_as(cursor, class_id, str(account), began, stays)


def attend_as(
    cursor: psycopg.Cursor, class_id: str, account: str, began: datetime, stays: list[Stay]
) -> None:
    """Add one account's stays."""
    cursor.execute(
        "INSERT INTO class_attendee (class_id, user_id, first_connected_at) VALUES (%s, %s, %s)",
        (class_id, account, began),
    )
    cursor.execute("UPDATE class SET attendees = attendees + 1 WHERE class_id = %s", (class_id,))
    for begin, end in stays:
        joined = began + timedelta(minutes=begin)
        left = None if end is None else began + timedelta(minutes=end)
        cursor.execute(
            "INSERT INTO attendance (session_id, user_id, class_id, fence, joined_at, connected_at,"
            " left_at, reason) VALUES (%s, %s, %s, 1, %s, %s, %s, %s)",
            (uuid7(), account, class_id, joined, joined, left, None if left is None else "left"),
        )
