"""What a web process tells Prometheus; docs/operations.md says what each figure means.

Labels are routes, outcomes and codes: sets that the code fixes. Nothing is told by class or person.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from aiohttp import web
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.process_collector import ProcessCollector

from control.operations import Operation
from control.problem import Problem

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

LAG_INTERVAL_S = 0.25
LAG_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
ADMISSION_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

# A second series for each counter, which nothing here reads.
disable_created_metrics()  # type: ignore[no-untyped-call]

# One registry of the process: what counts is far from what tells.
REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)

HTTP_REQUESTS = Counter(
    "lectern_http_requests",
    "Requests answered, by the route's template.",
    ["method", "route", "status"],
    registry=REGISTRY,
)
HTTP_DURATION = Histogram(
    "lectern_http_request_duration_seconds",
    "How long requests took, without those whose answer is a stream.",
    ["route"],
    buckets=(0.005, 0.025, 0.1, 0.25, 1.0, 5.0),
    registry=REGISTRY,
)
ADMISSION_DURATION = Histogram(
    "lectern_admission_duration_seconds",
    "From a viewer's wish for a seat to its committed answer, refusals included.",
    buckets=ADMISSION_BUCKETS_S,
    registry=REGISTRY,
)
BEATS = Counter(
    "lectern_beats", "Beats of nodes that were answered.", ["outcome"], registry=REGISTRY
)
NODES_REAPED = Counter(
    "lectern_nodes_reaped", "Nodes that were declared dead here.", registry=REGISTRY
)
SWEEPS = Counter("lectern_sweeps", "Sweeps for seats past their time here.", registry=REGISTRY)
SEATS_SWEPT = Counter(
    "lectern_seats_swept", "Seats past their time that were freed here.", registry=REGISTRY
)
CLASSES_DESERTED = Counter(
    "lectern_classes_deserted", "Classes that ended for want of a teacher.", registry=REGISTRY
)
NODES = Gauge(
    "lectern_nodes",
    "Nodes that live, as this process sees them: fit for classes, draining, or silent.",
    ["state"],
    registry=REGISTRY,
)
HEADROOM = Gauge(
    "lectern_headroom_sessions",
    "Viewers that the nodes which are fit still take.",
    registry=REGISTRY,
)
TREE_CHANGES = Counter(
    "lectern_tree_changes",
    "Changes of large classes' trees by this process: links made, edges dropped or closed.",
    ["kind"],
    registry=REGISTRY,
)
LAG = Histogram(
    "lectern_event_loop_lag_seconds",
    "How late the event loop was for a timer, four times a second.",
    buckets=LAG_BUCKETS_S,
    registry=REGISTRY,
)

TASKS = Gauge(
    "lectern_event_loop_tasks", "Tasks that the event loop has at this moment.", registry=REGISTRY
)

for _outcome in ("accepted", "stale", "held", "refused"):
    BEATS.labels(_outcome)
for _state in ("fit", "draining", "silent"):
    NODES.labels(_state)
for _kind in ("linked", "dropped", "closed"):
    TREE_CHANGES.labels(_kind)


class Metrics:
    """The endpoint, guarded by its own token; without a token it is not there."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    def operations(self) -> list[Operation]:
        return [
            Operation("GET", "/metrics", "metrics", "Tell this process's figures in Prometheus's "
                      "text format; the token is LECTERN_METRICS_TOKEN.", self._tell, "Metrics",
                      codes=("not_found", "not_signed_in"), signed_in=False,
                      media_type="text/plain"),
        ]  # fmt: skip

    def check(self, request: web.Request) -> None:
        """Let only the token's holder pass; Problem not_found where there is none to hold."""
        if self._token is None:
            raise Problem(404, "not_found", "There is nothing at this address.")
        given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(f"Bearer {self._token}".encode(), given):
            raise Problem(401, "not_signed_in", "The bearer is not the token of the metrics.")

    async def _tell(self, request: web.Request, fields: dict[str, Any]) -> web.Response:
        self.check(request)
        TASKS.set(len(asyncio.all_tasks()))
        return web.Response(
            body=generate_latest(REGISTRY), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )


@web.middleware
async def counted(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Count every request and how long it took; the outermost middleware."""
    began_s = time.perf_counter()
    response: web.StreamResponse | None = None
    try:
        response = await handler(request)
        return response
    finally:
        resource = request.match_info.route.resource
        # The template, never the path: paths hold ids and links, which are secrets and without number.
        route = resource.canonical if resource is not None else "none"
        method = request.method if request.method in METHODS else "other"
        status = "aborted" if response is None else str(response.status)
        HTTP_REQUESTS.labels(method, route, status).inc()
        if response is not None and not _streams(response):
            HTTP_DURATION.labels(route).observe(time.perf_counter() - began_s)


@contextmanager
def timed(histogram: Histogram) -> Iterator[None]:
    """Observe how long the block takes, however it ends."""
    began_s = time.perf_counter()
    try:
        yield
    finally:
        histogram.observe(time.perf_counter() - began_s)


async def watch_lag() -> None:
    """Measure the event loop's lag until cancelled."""
    while True:
        before_s = time.monotonic()
        await asyncio.sleep(LAG_INTERVAL_S)
        LAG.observe(max(time.monotonic() - before_s - LAG_INTERVAL_S, 0.0))


def _streams(response: web.StreamResponse) -> bool:
    return not isinstance(response, web.Response | web.FileResponse)
