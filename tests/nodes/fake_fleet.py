"""Made-up nodes that keep to the contract of links (`wire.link`), and web processes on a real control.

A node here knows its sessions, its upstream and its children, refuses what a real one refuses, and can die,
hang, drain or lie. `Fleet.blind` says who would see nothing: the way of a class's media is followed from
link to link, and a link carries only where both ends have the same key.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from aiohttp import web

from control import Account, Admission, Control, Limits, NodeAddress
from control.ids import uuid7
from signaling.health import Health
from signaling.links import Links
from signaling.node_client import NodeClient
from signaling.offer import read_offer
from signaling.opening import Opening
from tests.control.people import CLUSTER_SECRET
from tests.signaling.conftest import OFFERS
from tests.signaling.fake_control import FINGERPRINT
from wire import codec
from wire.beat import Beat, BeatAnswer, Load, LostLink, Register, SessionEvent
from wire.link import CloseLink, OfferLink, TakeLink
from wire.session import (
    Answer,
    Candidate,
    CloseClass,
    CloseSession,
    MoveClass,
    OpenSession,
    Outgoing,
    Refusal,
    SessionOpened,
    resume_secret_of,
)

BEATS_S = 1.0
VIEWER = read_offer((OFFERS / "chromium_viewer.sdp").read_bytes(), "viewer")
PUBLISHER = read_offer((OFFERS / "chromium_publisher.sdp").read_bytes(), "publisher")


@dataclass
class Room:
    sessions: dict[str, OpenSession] = field(default_factory=dict)
    upstream: TakeLink | None = None
    children: dict[str, OfferLink] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        return not self.sessions and self.upstream is None and not self.children


class Refuse(Exception):
    pass


class MadeUpNode:
    """One node on a unix socket of its own."""

    def __init__(self, fleet: Fleet, path: Path) -> None:
        self.fleet = fleet
        self.node_id = uuid7()
        self.secret = secrets.token_urlsafe(24)
        self.url = f"unix:{path}"
        self.rooms: dict[str, Room] = {}
        self.events: list[SessionEvent] = []
        self.dead = False
        self.refuses: dict[str, str] = {}  # what is asked -> the code of the refusal
        self.asked: list[tuple[str, Any]] = []
        self.moved: list[MoveClass] = []
        self._sequence = self._cursor = 0
        self._beating = asyncio.Lock()
        app = web.Application(client_max_size=codec.MESSAGE_BYTES_MAX)
        app.add_routes(
            [
                web.post("/sessions", self._on(OpenSession, self._open)),
                web.delete("/sessions/{id}", self._on(CloseSession, self._close)),
                web.delete("/classes/{id}", self._on(CloseClass, self._end)),
                web.post("/classes/{id}/move", self._on(MoveClass, self._move)),
                web.post("/classes/{id}/links", self._on(OfferLink, self._offer)),
                web.post("/classes/{id}/upstream", self._on(TakeLink, self._take)),
                web.delete("/classes/{id}/links", self._on(CloseLink, self._close_link)),
                web.delete("/classes/{id}/upstream", self._on(CloseLink, self._close_upstream)),
            ]
        )
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)

    @property
    def address(self) -> NodeAddress:
        return NodeAddress(self.node_id, self.url, self.secret)

    async def start(self) -> None:
        await self._runner.setup()
        await web.UnixSite(self._runner, self.url.removeprefix("unix:")).start()
        register = Register(
            str(self.node_id), self.secret, self.url, (("127.0.0.1", 1),), "made up"
        )
        await self.fleet.plane._beats.register(register)

    async def die(self) -> None:
        """As by kill -9: nothing is said any more; its lease runs on for a while."""
        self.dead = True
        await self._runner.cleanup()

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def beat(
        self, *, draining: bool = False, lost: list[LostLink] | None = None
    ) -> BeatAnswer:
        """Say what happened, and which upstreams are silent."""
        async with self._beating:
            return await self._beat(draining, lost)

    async def _beat(self, draining: bool, lost: list[LostLink] | None) -> BeatAnswer:
        self._sequence += 1
        held = sum(len(room.sessions) for room in self.rooms.values())
        events, self.events = tuple(self.events), []
        if lost is None:
            lost = [
                LostLink(class_id, room.upstream.link_id)
                for class_id, room in self.rooms.items()
                if room.upstream is not None and not self.fleet.carries(self, room.upstream)
            ]
        message = Beat(
            str(self.node_id),
            self._sequence,
            self._cursor,
            Load(held, len(self.rooms), 0, 0.0, 0.0),
            events,
            draining=draining,
            links_lost=tuple(lost),
        )
        answer = await self.fleet.plane._beats.beat(message, self.secret)
        self._cursor = answer.cursor
        for ended in answer.ended_classes:
            self.rooms.pop(ended.class_id, None)
        return answer

    def room(self, class_id: str) -> Room:
        return self.rooms.setdefault(class_id, Room())

    def viewers(self, class_id: UUID) -> int:
        room = self.rooms.get(str(class_id))
        return sum(s.role == "viewer" for s in room.sessions.values()) if room else 0

    def _on(self, kind: type[Any], act: Callable[[str, Any], Any]) -> Any:
        async def answer(request: web.Request) -> web.Response:
            assert request.headers["Authorization"] == f"Bearer {self.secret}"
            message = codec.unpack(kind, await request.read())
            name = kind.__name__
            self.asked.append((name, message))
            try:
                if name in self.refuses:
                    raise Refuse(self.refuses[name])
                result = act(request.match_info.get("id", ""), message)
            except Refuse as refused:
                body = codec.pack(Refusal(str(refused), "made up"))
                return web.Response(status=409, body=body)
            if result is None:
                return web.Response(status=204)
            return web.Response(body=codec.pack(result))

        return answer

    def _open(self, _: str, message: OpenSession) -> SessionOpened:
        room = self.room(message.class_id)
        room.sessions[message.session_id] = message
        self.events.append(SessionEvent("connected", message.session_id, message.fence, 0))
        outgoing = {
            section.mid: Outgoing(n + 1, "c", "s", f"t{n}", n + 100)
            for n, section in enumerate(message.offer.sections)
            if message.role == "viewer"
        }
        answer = Answer(
            *("ourufrag", "ourpassword0123456789abc", FINGERPRINT, "server"),
            (Candidate("192.0.2.1", 7000),),
            outgoing,
        )
        return SessionOpened(answer, resume_secret_of(self.secret, message.session_id))

    def _close(self, session_id: str, message: CloseSession) -> None:
        for room in self.rooms.values():
            room.sessions.pop(session_id, None)

    def _end(self, class_id: str, message: CloseClass) -> None:
        self.rooms.pop(class_id, None)

    def _move(self, class_id: str, message: MoveClass) -> None:
        self.moved.append(message)

    def _offer(self, class_id: str, message: OfferLink) -> None:
        if self.room(class_id).empty:
            raise Refuse("wrong_node")
        self.rooms[class_id].children[message.child_id] = message

    def _take(self, class_id: str, message: TakeLink) -> None:
        if str(self.node_id) in message.path:
            raise Refuse("loop")
        parent = self.fleet.node(message.parent_id)
        if parent is None or parent.dead:
            raise Refuse("no_parent")
        offered = parent.room(class_id).children.get(str(self.node_id))
        if offered is None or (offered.link_id, offered.key) != (message.link_id, message.key):
            raise Refuse("no_parent")
        self.room(class_id).upstream = message

    def _close_link(self, class_id: str, message: CloseLink) -> None:
        room = self.room(class_id)
        for child, offered in list(room.children.items()):
            if offered.link_id == message.link_id:
                del room.children[child]

    def _close_upstream(self, class_id: str, message: CloseLink) -> None:
        room = self.room(class_id)
        if room.upstream is not None and room.upstream.link_id == message.link_id:
            room.upstream = None


class WebProcess:
    """What signaling has in one web process."""

    def __init__(self, plane: Control) -> None:
        self.plane = plane
        self.nodes = NodeClient()
        self.links = Links(plane, self.nodes)
        self.opening = Opening(plane, self.nodes, Health(plane), self.links)

    async def close(self) -> None:
        await self.opening.close()
        await self.links.close()
        await self.nodes.close()

    async def watch(
        self, person: Account, link: str, resume_of: UUID | None = None
    ) -> tuple[Admission, UUID]:
        """Join as a student; return the admission and the node."""
        admission = await self.plane.admit(person, link_token=link, resume_of=resume_of)
        return admission, await self._opened(admission, VIEWER)

    async def teach(self, teacher: Account, class_id: UUID) -> tuple[Admission, UUID]:
        admission = await self.plane.admit_host(teacher, class_id)
        return admission, await self._opened(admission, PUBLISHER)

    async def _opened(self, admission: Admission, read: Any) -> UUID:
        response = await self.opening.open(admission, read)
        return UUID(response.headers["Location"].split("/")[3])


class Fleet:
    """All nodes, and one control through which they beat."""

    def __init__(self, plane: Control) -> None:
        self.plane = plane
        self.nodes: list[MadeUpNode] = []
        self.webs: list[WebProcess] = []

    def node(self, node_id: object) -> MadeUpNode | None:
        return next((n for n in self.nodes if str(n.node_id) == str(node_id)), None)

    def living(self) -> list[MadeUpNode]:
        return [node for node in self.nodes if not node.dead]

    async def beat(self) -> None:
        for node in self.living():
            await node.beat()

    async def live(self) -> None:
        """Beat for ever: a node that is silent for seconds gets no class."""
        while True:
            await asyncio.sleep(BEATS_S)
            await self.beat()

    def carries(self, child: MadeUpNode, link: TakeLink) -> bool:
        """Return whether the picture comes over this link."""
        parent = self.node(link.parent_id)
        room = parent.rooms.get(link.class_id) if parent is not None else None
        if parent is None or parent.dead or room is None:
            return False
        offered = room.children.get(str(child.node_id))
        same = offered is not None and (offered.link_id, offered.key) == (link.link_id, link.key)
        return same and self._has_picture(parent, link.class_id, frozenset({child.node_id}))

    def _has_picture(self, node: MadeUpNode, class_id: str, seen: frozenset[UUID]) -> bool:
        room = node.rooms.get(class_id)
        if node.dead or room is None or node.node_id in seen:
            return False
        if any(s.role == "publisher" for s in room.sessions.values()):
            return True
        up = room.upstream
        parent = self.node(up.parent_id) if up is not None else None
        if up is None or parent is None:
            return False
        offered = parent.room(class_id).children.get(str(node.node_id))
        same = offered is not None and (offered.link_id, offered.key) == (up.link_id, up.key)
        return same and self._has_picture(parent, class_id, seen | {node.node_id})

    def blind(self, class_id: UUID) -> list[str]:
        """Return the sessions on living nodes that have no picture."""
        return [
            session
            for node in self.living()
            for session in node.room(str(class_id)).sessions
            if not self._has_picture(node, str(class_id), frozenset())
        ]

    def depth(self, node: MadeUpNode, class_id: UUID) -> int:
        up = node.room(str(class_id)).upstream
        parent = self.node(up.parent_id) if up is not None else None
        return 0 if parent is None else 1 + self.depth(parent, class_id)

    async def heal(self) -> None:
        """As every web process does once a second."""
        for process in self.webs:
            await process.plane.heal_trees()
        await self.settled()

    async def settled(self) -> None:
        """Wait until nothing is being told."""
        async with asyncio.timeout(20):
            while any(p.links._tasks or p.links._telling for p in self.webs):
                await asyncio.sleep(0.01)


@asynccontextmanager
async def fleet(
    database_url: str,
    redis_url: str,
    directory: Path,
    *,
    nodes: int,
    webs: int = 1,
    limits: Limits,
) -> AsyncIterator[Fleet]:
    """Start so many nodes and web processes."""
    async with AsyncExitStack() as stack:
        planes = []
        for _ in range(webs):
            plane = await Control.open(
                database_url=database_url,
                redis_url=redis_url,
                cluster_secret=CLUSTER_SECRET,
                limits=limits,
            )
            stack.push_async_callback(plane.close)
            planes.append(plane)
        made = Fleet(planes[0])
        for number in range(nodes):
            node = MadeUpNode(made, directory / f"node{number}")
            await node.start()
            made.nodes.append(node)
            stack.push_async_callback(node.stop)
        for plane in planes:
            made.webs.append(WebProcess(plane))
            stack.push_async_callback(made.webs[-1].close)
        living = asyncio.create_task(made.live())
        try:
            yield made
        finally:
            living.cancel()
            await asyncio.wait([living])
        if not living.cancelled():
            living.result()  # nodes that had stopped living
