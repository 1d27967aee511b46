"""Who was there and for how long: reports out of raw segments.

The table keeps every segment as it was; a report closes gaps up to GAP_CLOSED_S (a reload, a change
of network) and clips everything to the class. Only segments that connected are given in.
"""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any
from uuid import UUID

from aiohttp import hdrs, web

from control import answers
from control.account_api import AccountApi
from control.answers import answer, duration, timestamp
from control.class_api import class_id_of
from control.classes import Classes
from control.database import Database
from control.http import streamed
from control.operations import Operation

GAP_CLOSED_S = 30.0
CSV_PAGE_ITEMS = 200
FORMULA_SIGNS = "=+-@＝＋－＠"
CSV_COLUMNS = ("user_id", "name", "joined_at", "left_at", "duration_s", "estimated", "segments")


@dataclass(frozen=True, slots=True)
class Segment:
    """One stay; `left_at` None: still there."""

    joined_at: datetime
    left_at: datetime | None
    reason: str | None
    estimated: bool


@dataclass(frozen=True, slots=True)
class Presence:
    """A person's whole attendance of one class."""

    joined_at: datetime
    left_at: datetime | None
    duration_s: float
    estimated: bool
    segments: list[Segment]


def presence(
    segments: list[Segment], started_at: datetime, ended_at: datetime | None, now: datetime
) -> Presence:
    """Return the union of the segments, short gaps closed, clipped to the class.

    At least one segment is needed; a class that goes on is clipped to `now`.
    """
    over = ended_at or now
    clipped = sorted(
        (min(max(s.joined_at, started_at), over), max(min(s.left_at or over, over), started_at))
        for s in segments
    )
    stays = [clipped[0]]
    for begin, end in clipped[1:]:
        last_begin, last_end = stays[-1]
        if begin - last_end <= timedelta(seconds=GAP_CLOSED_S):
            stays[-1] = (last_begin, max(last_end, end))
        else:
            stays.append((begin, end))
    total = sum((max(end - begin, timedelta()) for begin, end in stays), timedelta())
    still_there = ended_at is None and any(s.left_at is None for s in segments)
    return Presence(
        joined_at=stays[0][0],
        left_at=None if still_there else stays[-1][1],
        duration_s=total.total_seconds(),
        estimated=any(s.estimated for s in segments),
        segments=segments,
    )


class AttendanceApi:
    """The operations of the API on attendance."""

    def __init__(self, database: Database, classes: Classes, accounts: AccountApi) -> None:
        self._database = database
        self._classes = classes
        self._accounts = accounts

    def operations(self) -> list[Operation]:
        one = "/api/classes/{id}/attendance"
        codes = ("not_found", "not_owner")
        return [
            Operation("GET", one, "getAttendance", "List who attended an own class, and when.",
                      self.of_class, "AttendancePage", codes=codes, paged=True),
            Operation("GET", one + ".csv", "getAttendanceCsv", "The same for a spreadsheet, whole.",
                      self.as_csv, "Csv", codes=("not_found", "not_owner"), media_type="text/csv"),
            Operation("GET", "/api/attended", "listAttended", "List the classes one attended, "
                      "newest first.", self.of_user, "AttendedPage",
                      paged=True),
        ]  # fmt: skip

    async def of_class(self, request: web.Request, fields: dict[str, Any]) -> web.StreamResponse:
        account = await self._accounts.account_of(request)
        class_id = class_id_of(request)
        await self._classes.require_owner(account, class_id)
        after, limit = answers.page_of(request)
        found = await self._database.rows("attendance.of_class", class_id, after, limit + 1)
        return answer(answers.page(_grouped(found, "user_id"), limit, "user_id", _row))

    async def of_user(self, request: web.Request, fields: dict[str, Any]) -> web.StreamResponse:
        account = await self._accounts.account_of(request)
        before, limit = answers.page_of(request)
        found = await self._database.rows(
            "attendance.of_user", account.account_id, before, limit + 1
        )
        return answer(answers.page(_grouped(found, "class_id"), limit, "class_id", _attended))

    async def as_csv(self, request: web.Request, fields: dict[str, Any]) -> web.StreamResponse:
        account = await self._accounts.account_of(request)
        class_id = class_id_of(request)
        await self._classes.require_owner(account, class_id)
        response = web.StreamResponse(
            headers={
                hdrs.CONTENT_TYPE: "text/csv; charset=utf-8",
                hdrs.CONTENT_DISPOSITION: f'attachment; filename="attendance-{class_id}.csv"',
            }
        )
        return await streamed(request, response, self._csv_parts(class_id))

    async def _csv_parts(self, class_id: UUID) -> AsyncIterator[bytes]:
        # Together with the first page, so that a database that is away is still said as a problem.
        head = _csv([CSV_COLUMNS])
        async for rows in self._pages(class_id):
            yield head + _csv([_csv_row(row) for row in rows])
            head = b""
        if head:
            yield head

    async def _pages(self, class_id: UUID) -> AsyncIterator[list[dict[str, Any]]]:
        after: UUID | None = None
        while True:
            found = await self._database.rows(
                "attendance.of_class", class_id, after, CSV_PAGE_ITEMS
            )
            page = _grouped(found, "user_id")
            if not page:
                return
            yield page
            after = page[-1]["user_id"]


async def attended_pages(database: Database, account_id: UUID) -> AsyncIterator[list[Any]]:
    """Yield everything that a person attended, with its segments, as the API shows it."""
    before: UUID | None = None
    while True:
        found = await database.rows(
            "attendance.of_user", account_id, before, answers.PAGE_ITEMS_MAX
        )
        page = _grouped(found, "class_id")
        if not page:
            return
        yield [_attended(entry) | {"segments": _segments(entry["presence"])} for entry in page]
        before = page[-1]["class_id"]


def _grouped(found: list[Any], key: str) -> list[dict[str, Any]]:
    """Return one entry per person or class: its first row's columns and its `presence`."""
    of: Callable[[Any], Any] = lambda row: row[key]  # noqa: E731
    entries = []
    for _, group in groupby(found, of):
        rows = list(group)
        first = rows[0]
        segments = [
            Segment(r["joined_at"], r["left_at"], r["reason"], r["estimated"]) for r in rows
        ]
        whole = presence(segments, first["started_at"], first["ended_at"], first["now"])
        entries.append(dict(first) | {"presence": whole})
    return entries


def _row(entry: dict[str, Any]) -> dict[str, Any]:
    whole: Presence = entry["presence"]
    return {
        "user_id": str(entry["user_id"]),
        "class_id": str(entry["class_id"]),
        "name": entry["name"],
        "joined_at": timestamp(whole.joined_at),
        "left_at": timestamp(whole.left_at),
        "duration_s": duration(whole.duration_s),
        "estimated": whole.estimated,
        "segments": _segments(whole),
    }


def _segments(whole: Presence) -> list[dict[str, Any]]:
    return [
        {
            "joined_at": timestamp(segment.joined_at),
            "left_at": timestamp(segment.left_at),
            "reason": segment.reason,
            "estimated": segment.estimated,
        }
        for segment in whole.segments
    ]


def _attended(entry: dict[str, Any]) -> dict[str, Any]:
    whole: Presence = entry["presence"]
    over = entry["ended_at"] or entry["now"]
    return {
        "class_id": str(entry["class_id"]),
        "title": entry["title"],
        "teacher_name": entry["teacher_name"],
        "attendees": entry["attendees"],
        "class_duration_s": duration((over - entry["started_at"]).total_seconds()),
        "joined_at": timestamp(whole.joined_at),
        "left_at": timestamp(whole.left_at),
        "duration_s": duration(whole.duration_s),
    }


def _csv_row(entry: dict[str, Any]) -> tuple[Any, ...]:
    shown = _row(entry)
    name: str = shown["name"]
    # A spreadsheet takes such a cell for a formula.
    shown["name"] = f"'{name}" if name[0] in FORMULA_SIGNS else name
    shown["segments"] = len(shown["segments"])
    return tuple("" if shown[column] is None else shown[column] for column in CSV_COLUMNS)


def _csv(rows: list[tuple[Any, ...]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()
