"""The way of an admitted session onto a node, common to WHIP and WHEP."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from aiohttp import web

from control import Admission, Control, NodeAddress, Problem, ViewerPlace
from signaling import fault
from signaling.answer import write_answer
from signaling.fragment import entity_tag
from signaling.health import Health
from signaling.links import Links
from signaling.node_client import NodeClient, NodeRefused, NodeUnreachable
from signaling.sdp import ReadOffer
from wire.session import CloseSession, MoveClass, OpenSession, SessionOpened

log = logging.getLogger(__name__)

# The class's node, and those chosen anew without it: a few can have failed together.
PLACEMENTS_MAX = 6
UNTOLD_MAX = 2
RETRY_AFTER_S = 2
TELLINGS_MAX = 256
ICE_SERVERS_PATH = "/live/ice-servers"


@dataclass(slots=True)
class _Tried:
    """What one request has learnt of nodes."""

    failed: set[UUID] = field(default_factory=set)
    full: set[UUID] = field(default_factory=set)
    untold: int = 0  # links that were not taken
    origins: list[NodeAddress] = field(default_factory=list)  # that failed


class Opening:
    """Opens sessions; what it still has to tell to nodes that failed is told beside the answers."""

    def __init__(
        self,
        control: Control,
        nodes: NodeClient,
        health: Health,
        links: Links,
        *,
        has_turn: bool = False,
    ) -> None:
        """`has_turn` is told to clients, that those who need it ask for credentials."""
        self._control = control
        self._nodes = nodes
        self._health = health
        self._links = links
        self._offered = {"Lectern-Ice-Servers": ICE_SERVERS_PATH} if has_turn else {}
        self._tellings: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        for task in self._tellings:
            task.cancel()
        await asyncio.gather(*self._tellings, return_exceptions=True)

    async def open(self, admission: Admission, read: ReadOffer) -> web.Response:
        """Return the 201 of a session that a node has opened.

        Where no node opens it, the admission is undone and Problem no_capacity or try_again raised.
        """
        fault.after_commit()
        try:
            node, opened = await self._place(admission, read)
        except Problem:
            await self._control.abandon(admission, "never_connected")
            raise
        session_id = str(admission.session_id)
        return web.Response(
            status=201,
            content_type="application/sdp",
            text=write_answer(read, opened.answer),
            headers=self._offered
            | {
                "Location": f"/live/sessions/{node.node_id}/{session_id}",
                "ETag": entity_tag(session_id, read.offer.ice_ufrag),
                "Accept-Patch": "application/trickle-ice-sdpfrag",
                "Lectern-Resume": f"{session_id}.{opened.resume_secret}",
                "Cache-Control": "no-store",
            },
        )

    async def _place(
        self, admission: Admission, read: ReadOffer
    ) -> tuple[NodeAddress, SessionOpened]:
        class_id = admission.class_id
        tried = _Tried()
        for _ in range(PLACEMENTS_MAX):
            place = await self._choose(admission, tried)
            node = place.node
            link = place.link
            if link is not None and not link.told and not await self._links.tell(link):
                tried.untold += 1
                continue  # the tree is another one now
            opened = await self._try(place, admission, read, tried)
            if opened is not None:
                # Edges that did not work were told by the change of their tree.
                self._tell(self._send_after(tried.origins, node.epoch, str(class_id)))
                return node, opened
        raise Problem(
            503, "no_capacity", "No media server is free; try again.", retry_after_s=RETRY_AFTER_S
        )

    async def _choose(self, admission: Admission, tried: _Tried) -> ViewerPlace:
        exclude = frozenset(tried.failed)
        if admission.is_host:
            return ViewerPlace(await self._control.place(admission.class_id, exclude=exclude))
        return await self._control.place_viewer(
            admission,
            exclude=exclude,
            full=frozenset(tried.full),
            # Nodes that do not take links, of an older release say, keep the class to themselves.
            grows=tried.untold < UNTOLD_MAX,
        )

    async def _try(
        self, place: ViewerPlace, admission: Admission, read: ReadOffer, tried: _Tried
    ) -> SessionOpened | None:
        """Return what the node has opened, None where another one is to be asked."""
        node, as_edge = place.node, place.link is not None
        # The class's node may have died a moment ago, and whoever comes may come because of that.
        if not await self._health.works(node):
            await self._failed(place, admission, tried)
            return None
        if not await self._control.bind_session(admission, node.node_id, as_edge=as_edge):
            return None
        try:
            return await self._nodes.open_session(node, _message(admission, read, node.epoch))
        except NodeRefused as error:
            log.warning("node %s refused a session: %s", node.node_id, error)
            code = error.refusal.code
            if code == "stale":
                # A newer attempt of the same session has overtaken this one.
                raise Problem(
                    503, "try_again", "Another attempt is on its way.", retry_after_s=RETRY_AFTER_S
                ) from error
            if not admission.is_host and (
                code == "no_capacity" or (as_edge and code == "draining")
            ):
                # It keeps whom it has.
                tried.full.add(node.node_id)
                return None
        except NodeUnreachable as error:
            log.warning("%s", error)
            self._tell(self._forget(node, admission))
        await self._failed(place, admission, tried)
        return None

    async def _failed(self, place: ViewerPlace, admission: Admission, tried: _Tried) -> None:
        """Leave a node out; a class whose origin failed moves, an edge that failed is none any more."""
        tried.failed.add(place.node.node_id)
        if place.link is None:
            tried.origins.append(place.node)
        else:
            await self._control.lose_edge(admission.class_id, place.node.node_id)

    def _tell(self, telling: Coroutine[Any, Any, None]) -> None:
        if len(self._tellings) >= TELLINGS_MAX:
            telling.close()  # the nodes' beats heal it
            return
        task = asyncio.create_task(telling, name="telling a node")
        self._tellings.add(task)
        task.add_done_callback(self._tellings.discard)

    async def _send_after(self, failed: list[NodeAddress], epoch: int, class_id: str) -> None:
        """Let nodes that did not take the class any more send away whom they still have of it."""
        for node in failed:
            try:
                await self._nodes.move_class(node, class_id, MoveClass(epoch))
            except (NodeRefused, NodeUnreachable) as error:
                log.info("a node will hear in a later beat that a class has gone: %s", error)

    async def _forget(self, node: NodeAddress, admission: Admission) -> None:
        """Close what a node may have opened without telling us; it may also be dead."""
        message = CloseSession(admission.fence, "never_connected")
        try:
            await self._nodes.close_session(node, str(admission.session_id), message)
        except (NodeRefused, NodeUnreachable):
            # The digest of its next beats finds the difference.
            log.info("node %s could not be told to forget a session", node.node_id)


def _message(admission: Admission, read: ReadOffer, placement: int) -> OpenSession:
    return OpenSession(
        session_id=str(admission.session_id),
        fence=admission.fence,
        class_id=str(admission.class_id),
        user_id=str(admission.user_id),
        name=admission.name,
        role="publisher" if admission.is_host else "viewer",
        offer=read.offer,
        class_title=admission.class_title,
        capacity=admission.capacity,
        epoch=admission.epoch,
        placement=placement,
    )
