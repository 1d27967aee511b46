"""People and live classes for load: rows written by COPY, as signing them up would take longer than the load."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import asyncpg

from control.ids import uuid7

# Rows of one COPY: what is held in memory at once.
COPY_ROWS_MAX = 100_000


@dataclass(frozen=True, slots=True)
class LiveClass:
    class_id: UUID
    teacher_id: UUID
    link: str


async def people(database_url: str, count: int, role: str = "student") -> list[UUID]:
    """Add `count` accounts; returns their ids."""
    made = [uuid7() for _ in range(count)]
    connection = await asyncpg.connect(database_url)
    try:
        for start in range(0, count, COPY_ROWS_MAX):
            await connection.copy_records_to_table(
                "account",
                records=[(i, role, role) for i in made[start : start + COPY_ROWS_MAX]],
                columns=["account_id", "name", "role"],
            )
    finally:
        await connection.close()
    return made


async def live_classes(database_url: str, count: int, capacity: int) -> list[LiveClass]:
    """Add `count` classes that have started, each with a teacher in the host's seat."""
    teachers = await people(database_url, count, "teacher")
    made = [LiveClass(uuid7(), teacher, secrets.token_urlsafe(16)) for teacher in teachers]
    now = datetime.now(UTC)
    connection = await asyncpg.connect(database_url)
    try:
        for start in range(0, count, COPY_ROWS_MAX):
            part = made[start : start + COPY_ROWS_MAX]
            await connection.copy_records_to_table(
                "class",
                records=[
                    (c.class_id, c.teacher_id, "A class", capacity, c.link, "live", now)
                    for c in part
                ],
                columns=[
                    "class_id", "teacher_id", "title", "capacity", "link", "state", "started_at",
                ],
            )  # fmt: skip
            await connection.copy_records_to_table(
                "seat",
                # Publishing by all appearances, so that no sweeper ends a class for want of a teacher.
                records=[(c.teacher_id, c.class_id, uuid7(), True, 1) for c in part],
                columns=["user_id", "class_id", "session_id", "is_host", "fence"],
            )
    finally:
        await connection.close()
    return made
