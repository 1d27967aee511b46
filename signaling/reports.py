"""POST /live/reports: how watching was, as the page measured it. Only sums and histograms are kept.

A report is a claim of somebody's browser: it is bounded in size and value, costs no query beyond the
sign-in, and each account has a few of them, refilled slowly. What is claimed changes nothing but figures.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from aiohttp import web
from prometheus_client import Counter, Histogram

from control import REGISTRY, Control, Problem
from signaling.allowance import Allowance

REPORT_BYTES_MAX = 1024
# A page reports its first frame, then every minute or so, and at its end.
BURST = 5
REFILL_S = 15.0
FIRST_FRAME_MS_MAX = 120_000
WATCHED_MS_MAX = 15 * 60_000
FREEZES_MAX = 10_000

FIRST_FRAME = Histogram(
    "lectern_page_first_frame_seconds",
    "From the click to the first frame that is shown, as pages report it.",
    buckets=(0.1, 0.25, 0.5, 0.8, 1.0, 1.5, 2.5, 5.0, 10.0, 30.0),
    registry=REGISTRY,
)
FREEZES = Counter("lectern_page_freezes", "Freezes, as pages report them.", registry=REGISTRY)
FROZEN = Counter(
    "lectern_page_frozen_seconds", "Time frozen, as pages report it.", registry=REGISTRY
)
WATCHED = Counter(
    "lectern_page_watched_seconds", "Time watched, as pages report it.", registry=REGISTRY
)
REPORTS = Counter("lectern_page_reports", "Reports of pages.", ["outcome"], registry=REGISTRY)
for _outcome in ("taken", "rate_limited", "invalid"):
    REPORTS.labels(_outcome)

# Field: the largest value that is believed.
FIELDS = {
    "first_frame_ms": FIRST_FRAME_MS_MAX,
    "watched_ms": WATCHED_MS_MAX,
    "frozen_ms": WATCHED_MS_MAX,
    "freezes": FREEZES_MAX,
}


class Reports:
    """Takes reports; `clock` is monotonic, in seconds."""

    def __init__(self, control: Control, clock: Callable[[], float] = time.monotonic) -> None:
        self._control = control
        self._allowance = Allowance(BURST, REFILL_S, clock)

    async def post(self, request: web.Request) -> web.Response:
        """Take one report: 204; Problems not_signed_in, rate_limited, invalid_request, too_large."""
        account = await self._control.account_of(request)
        try:
            self._allowance.take(account.account_id)
        except Problem:
            REPORTS.labels("rate_limited").inc()
            raise
        body = await _body(request)
        try:
            report = read_report(body)
        except ValueError as error:
            REPORTS.labels("invalid").inc()
            raise Problem(422, "invalid_request", str(error)) from error
        REPORTS.labels("taken").inc()
        if "first_frame_ms" in report:
            FIRST_FRAME.observe(report["first_frame_ms"] / 1000)
        FREEZES.inc(report.get("freezes", 0))
        FROZEN.inc(report.get("frozen_ms", 0) / 1000)
        WATCHED.inc(report.get("watched_ms", 0) / 1000)
        return web.Response(status=204)


def read_report(body: bytes) -> dict[str, int]:
    """Return the fields of a report; ValueError with a sentence where it is none."""
    try:
        found: Any = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ValueError("The report is not JSON.") from error
    if not isinstance(found, dict) or not found or not found.keys() <= FIELDS.keys():
        raise ValueError(f"A report is an object with some of: {', '.join(FIELDS)}.")
    for name, value in found.items():
        if type(value) is not int or not 0 <= value <= FIELDS[name]:
            raise ValueError(f"{name} is a whole number from 0 to {FIELDS[name]}.")
    return found


async def _body(request: web.Request) -> bytes:
    if request.content_type != "application/json":
        raise Problem(415, "invalid_request", "The body must be sent as application/json.")
    body = bytearray()
    async for piece in request.content.iter_any():
        body += piece
        if len(body) > REPORT_BYTES_MAX:
            raise Problem(413, "too_large", f"A report has at most {REPORT_BYTES_MAX} bytes.")
    return bytes(body)
