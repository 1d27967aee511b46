"""Signaling as one object: the routes of live media on a web process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from types import TracebackType

from aiohttp import web

from control import ClassEnd, Control, NodeAddress, Problem
from signaling import description
from signaling.allowance import Allowance
from signaling.health import Health
from signaling.links import Links
from signaling.metrics import JOINS, NodeMetrics
from signaling.node_client import NodeClient, NodeRefused, NodeUnreachable
from signaling.opening import ICE_SERVERS_PATH, Opening
from signaling.reports import Reports
from signaling.resource import SessionResource
from signaling.sdp import BadOffer
from signaling.turn import IceServers, Turn
from signaling.whep import Whep
from signaling.whip import Whip
from wire.session import CloseClass

log = logging.getLogger(__name__)

# Ends that are told beside their answers; what is more waits for the nodes' beats.
TELLINGS_MAX = 256
# A page that comes back by itself waits longer each time; a person with a few tabs stays far below.
OFFERS_BURST = 60
OFFERS_REFILL_S = 1.0

Handler = Callable[[web.Request], Awaitable[web.Response]]


class Signaling:
    """WHIP, WHEP and their session resources; has no state but connections to nodes."""

    def __init__(
        self, control: Control, turn: Turn | None = None, *, throttle: bool = True
    ) -> None:
        """`throttle` bounds how often one account offers."""
        self._control = control
        self._nodes = NodeClient()
        self._health = Health(control)
        self._links = Links(control, self._nodes)
        self._opening = Opening(
            control, self._nodes, self._health, self._links, has_turn=turn is not None
        )
        self._tellings: set[asyncio.Task[None]] = set()
        control.when_class_ends(self._empty_nodes)
        allowance = Allowance(OFFERS_BURST, OFFERS_REFILL_S) if throttle else None
        self._whip = Whip(control, self._opening, allowance)
        self._whep = Whep(control, self._opening, allowance)
        self._resource = SessionResource(control, self._nodes, self._health)
        self._metrics = NodeMetrics(control, self._nodes)
        self._reports = Reports(control)
        self._ice_servers = IceServers(control, turn)

    async def open(self) -> Signaling:
        """Begin to watch the nodes; connections to them are made when they are needed."""
        self._health.start()
        self._links.start()
        return self

    async def close(self) -> None:
        """Close the connections to nodes; the server must have stopped before."""
        for task in self._tellings:
            task.cancel()
        await asyncio.gather(*self._tellings, return_exceptions=True)
        await self._opening.close()
        await self._links.close()
        await self._health.close()
        await self._nodes.close()

    async def __aenter__(self) -> Signaling:
        return await self.open()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def add_routes(self, app: web.Application) -> None:
        """Add /live; problems are rendered by the middlewares of `Control.add_routes`."""
        self._control.describe(description.paths())
        resource = "/live/sessions/{node_id}/{session_id}"
        app.add_routes(
            [
                web.post("/live/classes/{class_id}/whip", _joining("publisher", self._whip.post)),
                web.post(
                    "/live/classes/{class_id}/whep", _joining("viewer", self._whep.post_class)
                ),
                web.post("/live/links/{token}/whep", _joining("viewer", self._whep.post_link)),
                web.post("/live/reports", self._reports.post),
                web.get(ICE_SERVERS_PATH, self._ice_servers.get),
                web.get("/metrics/nodes", self._metrics.list),
                web.get("/metrics/nodes/{node_id}", self._metrics.of_node),
                web.patch(resource, _answering(self._resource.patch)),
                web.delete(resource, self._resource.delete),
            ]
        )

    def _empty_nodes(self, end: ClassEnd) -> None:
        """Tell the nodes of an ended class at once what they would hear in their next beats."""
        for node in end.nodes[: TELLINGS_MAX - len(self._tellings)]:
            task = asyncio.create_task(self._empty(node, end), name="a class's end")
            self._tellings.add(task)
            task.add_done_callback(self._tellings.discard)

    async def _empty(self, node: NodeAddress, end: ClassEnd) -> None:
        try:
            await self._nodes.close_class(node, str(end.class_id), CloseClass(end.epoch))
        except (NodeRefused, NodeUnreachable) as error:
            log.info("a node will hear of a class's end in its next beat: %s", error)


def _joining(role: str, handler: Handler) -> Handler:
    answering = _answering(handler)

    async def answer(request: web.Request) -> web.Response:
        outcome = "internal"
        try:
            response = await answering(request)
            outcome = "ok"
            return response
        except Problem as problem:
            outcome = problem.code
            raise
        finally:
            JOINS.labels(role, outcome).inc()

    return answer


def _answering(handler: Handler) -> Handler:
    async def answer(request: web.Request) -> web.Response:
        try:
            return await handler(request)
        except BadOffer as error:
            raise Problem(400, "bad_offer", str(error)) from error

    return answer
