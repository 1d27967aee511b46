"""Pages by cursor read what they show: index probes only, as many on the first page as on any other."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest

from control.database import SETTINGS
from control.ids import uuid7
from control.queries import QUERIES
from tests.control.people import School

PAGES = ("attendance.of_class", "attendance.of_user", "class.own")
PEOPLE = 20_000
CLASSES = 3_000
PAGE_ITEMS = 51
# Each row shown costs probes of three indexes of two or three levels, and their rows.
BLOCKS_MAX = 24 * PAGE_ITEMS
ROWS_MAX = 4 * PAGE_ITEMS
READS_ALL = {"Seq Scan", "Hash Join", "Merge Join", "Bitmap Heap Scan"}


@pytest.fixture
async def years(school: School) -> tuple[UUID, UUID, UUID]:
    """Return a big class, a person who went to thousands, and their teacher; statistics are real."""
    teacher = await school.person("teacher")
    classes = [uuid7() for _ in range(CLASSES)]
    await school.sql.execute(
        """
        INSERT INTO class (class_id, teacher_id, title, capacity, link, state, started_at, ended_at)
        SELECT id, $2, 'Old', 9, id::text, 'ended', now() - interval '2 h', now() - interval '1 h'
        FROM unnest($1::uuid[]) AS id
        """,
        classes,
        teacher.account_id,
    )
    big = classes[CLASSES // 2]
    person = (await school.person()).account_id
    await school.sql.execute(
        """
        WITH other AS (
            INSERT INTO account (account_id, name, role)
            SELECT gen_random_uuid(), 'n', 'student' FROM generate_series(1, $4::int)
            RETURNING account_id
        ), pair AS MATERIALIZED (
            SELECT $1::uuid AS class_id, account_id AS user_id FROM other
            UNION SELECT class_id, $2 FROM unnest($3::uuid[]) AS class_id
        ), met AS (
            INSERT INTO class_attendee SELECT class_id, user_id, now() FROM pair
        )
        INSERT INTO attendance (session_id, user_id, class_id, fence, joined_at, connected_at,
                                left_at, reason)
        SELECT gen_random_uuid(), user_id, class_id, 1, begin, begin, begin + interval '9 min', 'left'
        FROM pair, (SELECT now() - interval '2 h' AS begin) AS b,
             generate_series(1, 2)
        """,
        big,
        person,
        classes,
        PEOPLE,
    )
    await school.sql.execute("ANALYZE")
    for name, value in SETTINGS.items():
        await school.sql.execute("SELECT set_config($1, $2, false)", name, value)
    return big, person, teacher.account_id


async def test_a_page_probes_indexes_for_what_it_shows(
    school: School, years: tuple[UUID, UUID, UUID]
) -> None:
    for query, key in zip(PAGES, years, strict=True):
        for share in (None, 0.5, 0.999):
            cursor = None if share is None else await cursor_of(school, years, query, share)
            plan = await explained(school, query, key, cursor)
            where = (query, share)
            for node in nodes(plan):
                assert node["Node Type"] not in READS_ALL, (where, node["Node Type"])
                rows = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
                assert rows * node["Actual Loops"] <= ROWS_MAX, (where, node["Node Type"], rows)
            assert blocks(plan) <= BLOCKS_MAX, (where, blocks(plan))
            if share != 0.999:
                assert plan["Actual Rows"] >= PAGE_ITEMS, where
    # The bound would notice a page that reads everything.
    await school.sql.execute("BEGIN; DROP INDEX attendance_by_class_user")
    plan = await explained(school, PAGES[0], years[0], None)
    await school.sql.execute("ROLLBACK")
    assert blocks(plan) > 4 * BLOCKS_MAX


def blocks(plan: dict[str, Any]) -> int:
    """Return how many blocks of 8 KB the plan looked at."""
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


async def cursor_of(
    school: School, years: tuple[UUID, UUID, UUID], query: str, share: float
) -> UUID:
    """Return the cursor behind this share of all rows: the key of the last of them."""
    big, person, teacher = years
    keys, newest_first = {
        "attendance.of_class": (f"user_id FROM class_attendee WHERE class_id = '{big}'", ""),
        "attendance.of_user": (f"class_id FROM class_attendee WHERE user_id = '{person}'", "DESC"),
        "class.own": (f"class_id FROM class WHERE teacher_id = '{teacher}'", "DESC"),
    }[query]
    found = await school.sql.fetch(f"SELECT {keys} ORDER BY 1 {newest_first}")
    cursor: UUID = found[int(len(found) * share)][0]
    return cursor


async def explained(school: School, query: str, key: UUID, cursor: UUID | None) -> dict[str, Any]:
    """Run one page as the server does, with a generic plan, and return the plan."""
    await school.sql.execute(f"PREPARE page (uuid, uuid, bigint) AS {QUERIES[query]}")
    after = "NULL" if cursor is None else f"'{cursor}'"
    try:
        text = await school.sql.fetchval(
            f"EXPLAIN (FORMAT JSON, ANALYZE, BUFFERS) EXECUTE page ('{key}', {after}, {PAGE_ITEMS})"
        )
    finally:
        await school.sql.execute("DEALLOCATE page")
    plan: dict[str, Any] = json.loads(text)[0]["Plan"]
    return plan


def nodes(plan: dict[str, Any]) -> Any:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from nodes(inner)
