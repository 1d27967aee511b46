"""Errors that a client sees: RFC 9457 problem details with a stable `code`."""

from __future__ import annotations

from typing import Any


class Problem(Exception):
    """A request that cannot be done, in a sentence its sender can act on.

    `extra` are further members of the body, `retry_after_s` becomes a Retry-After header.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        extra: dict[str, Any] | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail
        self.extra = extra or {}
        self.retry_after_s = retry_after_s


def bad_query(name: str, why: str) -> Problem:
    """Return the refusal of a parameter that is not what it should be."""
    return Problem(422, "invalid_request", f"The parameter {name!r} {why}.", extra={"field": name})
