"""People and classes for load, written by COPY: signing them up would take longer than the load."""

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
class MadeClass:
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


async def live_classes(database_url: str, count: int, capacity: int) -> list[MadeClass]:
    """Add `count` classes that have started, each with a teacher in the host's seat."""
    made = await _classes(database_url, count, capacity, "live")
    connection = await asyncpg.connect(database_url)
    try:
        await connection.copy_records_to_table(
            "seat",
            # Publishing by all appearances, so that no sweeper ends a class for want of a teacher.
            records=[(c.teacher_id, c.class_id, uuid7(), True, 1) for c in made],
            columns=["user_id", "class_id", "session_id", "is_host", "fence"],
        )
    finally:
        await connection.close()
    return made


async def waiting_classes(database_url: str, count: int, capacity: int) -> list[MadeClass]:
    """Add `count` classes that nobody has started."""
    return await _classes(database_url, count, capacity, "created")


async def _classes(database_url: str, count: int, capacity: int, state: str) -> list[MadeClass]:
    teachers = await people(database_url, count, "teacher")
    made = [MadeClass(uuid7(), teacher, secrets.token_urlsafe(16)) for teacher in teachers]
    started_at = datetime.now(UTC) if state == "live" else None
    connection = await asyncpg.connect(database_url)
    try:
        await connection.copy_records_to_table(
            "class",
            records=[
                (c.class_id, c.teacher_id, "A class", capacity, c.link, state, started_at)
                for c in made
            ],
            columns=[
                "class_id", "teacher_id", "title", "capacity", "link", "state", "started_at",
            ],
        )  # fmt: skip
    finally:
        await connection.close()
    return made
