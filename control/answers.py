"""What rows look like in answers, and how lists are paged."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from aiohttp import web

from control.problem import bad_query

PAGE_ITEMS = 50
PAGE_ITEMS_MAX = 200


def answer(value: Any, status: int = 200) -> web.Response:
    """Return a JSON response."""
    return web.Response(
        status=status, body=json.dumps(value).encode(), content_type="application/json"
    )


def timestamp(moment: datetime | None) -> str | None:
    """Return RFC 3339 in UTC with milliseconds."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def user(row: Any) -> dict[str, Any]:
    """Return a user out of `account.me`."""
    active = None
    if row["class_id"] is not None:
        active = {
            "id": str(row["class_id"]),
            "title": row["title"],
            "state": row["state"],
            "is_host": row["is_host"],
        }
    return {
        "id": str(row["account_id"]),
        "email": row["email"],
        "name": row["name"],
        "role": row["role"],
        "is_operator": row["is_operator"],
        "active_class": active,
    }


def class_(row: Any, link: str) -> dict[str, Any]:
    """Return a class out of `class.show` or `class.own`, with its link as a URL."""
    return {
        "id": str(row["class_id"]),
        "title": row["title"],
        "capacity": row["capacity"],
        "state": row["state"],
        "link": link,
        "created_at": timestamp(row["created_at"]),
        "started_at": timestamp(row["started_at"]),
        "ended_at": timestamp(row["ended_at"]),
        "duration_s": duration(row["duration_s"]),
        "attendees": row["attendees"],
        "present": row["present"],
    }


def link_view(row: Any) -> dict[str, Any]:
    """Return what the holder of a link sees, out of `class.by_link`."""
    return {
        "class_id": str(row["class_id"]),
        "title": row["title"],
        "teacher_name": row["teacher_name"],
        "state": row["state"],
        "attendees": row["attendees"],
        "present": row["present"],
        "capacity": row["capacity"],
        "started_at": timestamp(row["started_at"]),
        "duration_s": duration(row["duration_s"]),
    }


def api_token(row: Any) -> dict[str, Any]:
    return {
        "id": str(row["token_id"]),
        "name": row["name"],
        "created_at": timestamp(row["created_at"]),
        "used_at": timestamp(row["used_at"]),
    }


def session(row: Any) -> dict[str, Any]:
    """Return a session out of `account.sessions`."""
    return {
        "id": str(row["token_id"]),
        "client": row["client"],
        "created_at": timestamp(row["created_at"]),
        "used_at": timestamp(row["used_at"]),
        "expires_at": timestamp(row["expires_at"]),
        "current": bool(row["is_current"]),
    }


def duration(seconds: float | None) -> float:
    """Return seconds with milliseconds; nothing that never began lasted."""
    return round(max(seconds or 0.0, 0.0), 3)


def page_of(request: web.Request) -> tuple[UUID | None, int]:
    """Return (the id that the page begins after, its length) of `?limit=&cursor=`."""
    limit_text = request.query.get("limit", str(PAGE_ITEMS))
    # isdecimal() alone takes digits of every script.
    if not (limit_text.isascii() and limit_text.isdecimal() and len(limit_text) <= 4):
        raise bad_query("limit", f"must be a whole number from 1 to {PAGE_ITEMS_MAX}")
    limit = int(limit_text)
    if not 1 <= limit <= PAGE_ITEMS_MAX:
        raise bad_query("limit", f"must be a whole number from 1 to {PAGE_ITEMS_MAX}")
    cursor = request.query.get("cursor")
    return (None if cursor is None else _id_of(cursor)), limit


def page(rows: list[Any], limit: int, key: str, form: Callable[[Any], Any]) -> dict[str, Any]:
    """Return a page; `rows` has one more than `limit` where another page follows."""
    shown = rows[:limit]
    following = _cursor(shown[-1][key]) if len(rows) > limit else None
    return {"items": [form(row) for row in shown], "next": following}


def _cursor(value: UUID) -> str:
    return base64.urlsafe_b64encode(value.bytes).rstrip(b"=").decode()


def _id_of(cursor: str) -> UUID:
    try:
        return UUID(bytes=base64.b64decode(cursor + "==", altchars=b"-_", validate=True))
    except (ValueError, binascii.Error) as error:
        raise bad_query("cursor", "must be one that a list gave") from error
