"""Ids in paths."""

from __future__ import annotations

from uuid import UUID

from aiohttp import web

from control import Problem


def path_id(request: web.Request, name: str, what: str) -> UUID:
    """Return the UUID of a path's part; what is none cannot be found."""
    try:
        return UUID(request.match_info[name])
    except ValueError as error:
        raise Problem(404, "not_found", f"There is no such {what}.") from error
