"""Reports of who was there: unions of segments, by pages that use indexes."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient

from control.attendance import Segment, presence
from tests.control.people import School
from tests.control.test_accounts import ADA, send

Client = TestClient[web.Request, web.Application]

START = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def stay(begin: float, end: float | None, *, estimated: bool = False) -> Segment:
    reason = None if end is None else "left"
    return Segment(at(begin), None if end is None else at(end), reason, estimated)


def test_gaps_up_to_thirty_seconds_are_closed_and_longer_ones_are_not() -> None:
    whole = presence([stay(0, 10), stay(40, 50), stay(81, 90)], at(0), at(100), at(999))
    assert (whole.joined_at, whole.left_at) == (at(0), at(90))
    assert whole.duration_s == 50 + 9


def test_stays_are_clipped_to_the_class() -> None:
    whole = presence([stay(-5, 20), stay(90, 130)], at(0), at(100), at(999))
    assert (whole.joined_at, whole.left_at, whole.duration_s) == (at(0), at(100), 30)


def test_overlapping_stays_count_once() -> None:
    whole = presence([stay(0, 60), stay(10, 30), stay(50, 70)], at(0), None, at(100))
    assert whole.duration_s == 70


def test_who_is_still_there_has_not_left() -> None:
    whole = presence([stay(0, 10), stay(60, None)], at(0), None, at(100))
    assert (whole.left_at, whole.duration_s) == (None, 10 + 40)
    assert presence([stay(0, None)], at(0), at(50), at(100)).left_at == at(50)


def test_one_estimated_end_makes_the_whole_estimated() -> None:
    assert presence([stay(0, 10, estimated=True)], at(0), None, at(99)).estimated
    assert not presence([stay(0, 10)], at(0), None, at(99)).estimated


async def taught(client: Client, school: School) -> tuple[Any, list[Any]]:
    """Ada's class with three students: one who came twice, one there, one who never connected."""
    await send(client, "POST", "/api/accounts", ADA)
    _, made = await send(client, "POST", "/api/classes", {"title": "Maths", "capacity": 9})
    await send(client, "POST", f"/api/classes/{made['id']}/start")
    link = made["link"].rsplit("/", 1)[1]
    node = await school.node()
    twice, once, never = await school.people(3)
    first = await school.joined(twice, link, node)
    await school.plane.leave(twice, first.session_id, "left")
    await school.joined(twice, link, node)
    await school.joined(once, link, node)
    await school.plane.admit(never, link_token=link)
    return made, [twice, once, never]


async def test_a_rejoin_is_one_row_and_one_attendee(client: Client, school: School) -> None:
    made, (twice, once, _) = await taught(client, school)
    _, page = await send(client, "GET", f"/api/classes/{made['id']}/attendance")
    assert [row["user_id"] for row in page["items"]] == [
        str(p.account_id) for p in sorted((twice, once), key=lambda p: p.account_id)
    ]
    # Ids made in one millisecond sort by chance.
    (row,) = (row for row in page["items"] if row["user_id"] == str(twice.account_id))
    assert set(row) == {
        "user_id", "class_id", "name", "joined_at", "left_at", "duration_s", "estimated",
        "segments",
    }  # fmt: skip
    assert [s["reason"] for s in row["segments"]] == ["left", None]
    assert row["left_at"] is None and row["class_id"] == made["id"]
    _, shown = await send(client, "GET", f"/api/classes/{made['id']}")
    assert (shown["attendees"], shown["present"]) == (2, 2)
    _, ended = await send(client, "POST", f"/api/classes/{made['id']}/end")
    _, page = await send(client, "GET", f"/api/classes/{made['id']}/attendance?limit=1")
    assert page["items"][0]["segments"][-1]["reason"] == "class_ended"
    assert page["items"][0]["left_at"] == ended["ended_at"]
    _, rest = await send(
        client, "GET", f"/api/classes/{made['id']}/attendance?limit=1&cursor={page['next']}"
    )
    assert rest["items"][0]["user_id"] != page["items"][0]["user_id"] and rest["next"] is None


async def test_the_csv_holds_everybody_and_no_formulas(client: Client, school: School) -> None:
    made, (twice, _, _) = await taught(client, school)
    name = '=HYPERLINK("x"), "quoted"'
    await school.sql.execute(
        "UPDATE account SET name = $2 WHERE account_id = $1", twice.account_id, name
    )
    async with client.get(f"/api/classes/{made['id']}/attendance.csv") as response:
        assert response.content_type == "text/csv"
        rows = list(csv.DictReader(io.StringIO(await response.text())))
    assert len(rows) == 2
    (cheeky,) = [row for row in rows if row["user_id"] == str(twice.account_id)]
    assert cheeky["name"] == "'" + name and cheeky["segments"] == "2"
    assert all(row["joined_at"].endswith("Z") for row in rows)


async def test_a_student_sees_the_own_history(client: Client, school: School) -> None:
    await taught(client, school)
    await send(client, "DELETE", "/api/session")
    body = ADA | {"email": "bob@example.org", "name": "Bob", "role": "student"}
    _, bob = await send(client, "POST", "/api/accounts", body)
    assert (await send(client, "GET", "/api/attended"))[1] == {"items": [], "next": None}
    node = await school.node()
    titles: list[str] = []
    for number in range(3):
        teacher, class_id, link = await school.live_class()
        title = f"Class {number}"
        await school.sql.execute("UPDATE class SET title=$2 WHERE class_id=$1", class_id, title)
        account = await account_of(school, bob["id"])
        await school.joined(account, link, node)
        await school.plane._classes.end(teacher, class_id)
        titles.insert(0, title)
    _, page = await send(client, "GET", "/api/attended?limit=2")
    _, rest = await send(client, "GET", f"/api/attended?limit=2&cursor={page['next']}")
    assert [row["title"] for row in page["items"] + rest["items"]] == titles
    assert set(page["items"][0]) == {
        "class_id", "title", "teacher_name", "attendees", "class_duration_s", "joined_at",
        "left_at", "duration_s",
    }  # fmt: skip
    assert page["items"][0]["attendees"] == 1 and rest["next"] is None


async def account_of(school: School, account_id: str) -> Any:
    from uuid import UUID

    from control import Account

    row = await school.sql.fetchrow(
        "SELECT account_id, name, role FROM account WHERE account_id = $1", UUID(account_id)
    )
    assert row is not None
    return Account(row["account_id"], row["name"], row["role"], False)
