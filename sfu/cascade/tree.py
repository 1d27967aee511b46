"""The links of one node: what control asks for, what is under way, and what control is to hear of it.

A new parent replaces an older one without a gap: the old link goes on until the new one's media feeds the
room. Offers and links are bounded by their number; of too many offers the oldest goes.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Protocol

import msgpack
from aiohttp import web

from sfu.cascade.above import LINGER_S, Above, Looped
from sfu.cascade.below import Below
from sfu.cascade.channel import (
    HANG_UP_S,
    HEARTBEAT_S,
    MESSAGE_BYTES_MAX,
    Channel,
    LinkError,
    field,
)
from sfu.cascade.keys import NONCE_BYTES, Incarnation, nonce
from sfu.comments import Comments
from sfu.internal import Refused
from sfu.negotiation import Ssrcs
from sfu.room import Room
from wire.beat import LOST_LINKS_PER_BEAT_MAX, LostLink
from wire.link import (
    CHILDREN_PER_CLASS_MAX,
    DEPTH_MAX,
    KEY_BYTES,
    CloseLink,
    OfferLink,
    TakeLink,
)
from wire.session import Candidate

if TYPE_CHECKING:
    from sfu._core import Media

log = logging.getLogger(__name__)

OFFERS_MAX = 2000
LINKS_MAX = 1000  # at this node, in both directions
HANDSHAKE_S = 2.0
HANDSHAKES_MAX = 64
PLACEMENTS_MAX = 20_000
# A draining node keeps what only passes through it so long, for control to find another way.
DRAINS_S = 10.0


class CascadingNode(Protocol):
    """What the links ask of their node."""

    rooms: dict[str, Room]
    ssrcs: Ssrcs

    @property
    def node_id(self) -> str: ...
    @property
    def serving(self) -> bool: ...
    @property
    def draining(self) -> bool: ...
    @property
    def media(self) -> Media: ...
    @property
    def candidates(self) -> tuple[Candidate, ...]: ...
    def next_number(self) -> int: ...
    def room(self, class_id: str) -> Room: ...
    def knows_class(self, class_id: str) -> bool: ...
    def let_go(self, room: Room) -> None: ...
    def end_class(self, class_id: str, epoch: int) -> None: ...
    def hurry(self) -> None: ...


@dataclass(slots=True)
class LinkFigures:
    """For the metrics."""

    above: int = 0
    below: int = 0
    lost: int = 0
    depth: int = 0  # nodes above this one, of the class with the most
    packets_in: int = 0
    packets_out: int = 0
    packets_lost: int = 0
    packets_repaired: int = 0


class Cascade:
    """Every link of a node; `stop` ends them."""

    def __init__(self, node: CascadingNode) -> None:
        self._node = node
        self._offers: dict[str, OfferLink] = {}  # by link, oldest first
        self._above: dict[str, Above] = {}  # by class
        self._replaced: dict[Above, asyncio.Task[None]] = {}
        self._below: dict[int, Below] = {}  # by number, also those that linger
        self._by_number: dict[int, Above] = {}
        self._placements: dict[str, int] = {}  # the newest of each class
        self._tasks: dict[Above, asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._handshakes = 0
        self._draining_since_s: float | None = None
        self.ended = LinkFigures()  # counters of links that are over

    # What control asks.

    def offer(self, class_id: str, offer: OfferLink) -> None:
        """Expect a child; Refused."""
        if not self._node.serving:
            raise Refused("wrong_node", "the node is not registered, or about to stop")
        if self._node.draining:
            raise Refused("draining", "this node is about to stop")
        if offer.class_id != class_id or len(offer.key) != KEY_BYTES:
            raise Refused("bad_message", "class or key is not what it should be")
        if offer.link_id in self._offers:
            return
        if not self._node.knows_class(class_id):
            raise Refused("wrong_node", f"class {class_id} is not here")
        self._note_placement(class_id, offer.placement)
        others = [o for o in self._offers.values() if o.class_id == class_id]
        if len(others) >= CHILDREN_PER_CLASS_MAX or len(self._below) >= LINKS_MAX:
            raise Refused("no_capacity", f"{len(self._below)} links, {len(others)} of the class")
        for other in others:
            if other.child_id == offer.child_id:
                del self._offers[other.link_id]  # a link that is up goes on until its child ends it
        if len(self._offers) >= OFFERS_MAX:
            del self._offers[next(iter(self._offers))]
        self._offers[offer.link_id] = offer

    async def take(self, class_id: str, take: TakeLink) -> None:
        """Follow a parent, and return when it has answered and its media's path is proven; Refused."""
        if not self._node.serving:
            raise Refused("wrong_node", "the node is not registered, or about to stop")
        if take.class_id != class_id or len(take.key) != KEY_BYTES:
            raise Refused("bad_message", "class or key is not what it should be")
        if self._node.node_id in (*take.path, take.parent_id) or len(take.path) > DEPTH_MAX:
            log.warning("link %s of class %s would be a loop", take.link_id, class_id)
            raise Refused("loop", f"{' > '.join(take.path)} > {take.parent_id} has this node")
        before = self._above.get(class_id)
        if before is not None and before.take.link_id == take.link_id:
            await self._answered(before)
            return
        self._note_placement(class_id, take.placement)
        if len(self._above) >= LINKS_MAX:
            raise Refused("no_capacity", f"{len(self._above)} links")
        room = self._node.room(class_id)
        above = Above(
            take,
            node=self,
            media=self._node.media,
            ssrcs=self._node.ssrcs,
            room=room,
            on_change=self._changed,
            on_path=self._path_changed,
        )
        self._above[class_id] = above
        self._tasks[above] = asyncio.create_task(above.run())
        try:
            await self._answered(above)
        except Refused:
            await self._end(above)
            if self._above.get(class_id) is above:
                del self._above[class_id]
                if before is not None and before in self._tasks:
                    self._above[class_id] = before
            self._node.let_go(room)
            raise
        older = takewhile(lambda other: other is not above, self._tasks)
        others = [other for other in older if other.room is above.room]
        for other in others:
            other.is_over = True  # it goes on, and does not come again
        if others:
            self._replaced[above] = asyncio.create_task(self._replace(others, above))

    def close_above(self, class_id: str, close: CloseLink) -> None:
        """Follow nobody any more, if it is this link; a class without anybody is forgotten."""
        above = self._above.get(class_id)
        if above is not None and above.take.link_id == close.link_id:
            self._drop_above(class_id)

    def close_below(self, class_id: str, close: CloseLink) -> None:
        """Feed this child no more."""
        offer = self._offers.get(close.link_id)
        if offer is not None and offer.class_id == class_id:
            del self._offers[close.link_id]
            for below in list(self._below.values()):
                if below.offer.link_id == close.link_id:
                    below.channel.close()

    # What the node tells.

    def event(self, event: tuple[Any, ...]) -> None:
        """Take an event of a session that is a link's."""
        above = self._by_number.get(event[1])
        if above is not None:
            above.event(event[1], event[0], event[2] if len(event) > 2 else None)
        elif event[0] == "silent" and (below := self._below.get(event[1])) is not None:
            log.warning("link %s: its child's media is silent", below.offer.link_id)
            below.channel.close()

    def published(self, class_id: str, placement: int) -> None:
        """A teacher of this placement has come here: this node is the class's origin now."""
        above = self._above.get(class_id)
        if above is not None and placement >= above.take.placement:
            self._drop_above(class_id)

    def class_ended(self, class_id: str, epoch: int) -> None:
        """Tell those below; where nobody of a later epoch is here the links end."""
        for below in self._of(class_id):
            below.tell_end(epoch)
        room = self._node.rooms.get(class_id)
        if room is not None and room.sessions:
            return
        for link_id in [o.link_id for o in self._offers.values() if o.class_id == class_id]:
            del self._offers[link_id]
        if room is None:
            return
        # Links hold the room for a moment, and nothing of it is to be kept.
        room.comments = Comments()
        for below in self._of(class_id):
            below.channel.close()
        self._drop_above(class_id)

    def lost(self) -> tuple[LostLink, ...]:
        """Return the links upwards that need another parent."""
        lost = [a.take for a in self._above.values() if a.is_lost]
        return tuple(LostLink(t.class_id, t.link_id) for t in lost[:LOST_LINKS_PER_BEAT_MAX])

    def tick(self, now_s: float) -> None:
        """Do what comes with time; called a few times a second."""
        for above in list(self._above.values()):
            above.tick(now_s)
        for below in list(self._below.values()):
            below.tick(now_s)
        if self._node.draining:
            self._drain(now_s)

    def drop_all(self) -> None:
        """End every link at once: this boot is no node any more."""
        self._offers.clear()
        for below in list(self._below.values()):
            below.channel.close()
        for class_id in list(self._above):
            self._drop_above(class_id)

    async def stop(self) -> None:
        self.drop_all()
        tasks = [*self._ending, *self._tasks.values(), *self._replaced.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def figures(self) -> LinkFigures:
        ended = self.ended
        sums = LinkFigures(
            packets_in=ended.packets_in,
            packets_out=ended.packets_out,
            packets_lost=ended.packets_lost,
            packets_repaired=ended.packets_repaired,
        )
        sums.above, sums.below = len(self._above), len(self._below)
        sums.lost = sum(above.is_lost for above in self._above.values())
        sums.depth = max((len(a.room.path) for a in self._above.values()), default=0)
        for number in (*self._by_number, *self._below):
            self._add(sums, number)
        return sums

    # The parent's end: what a child's connection comes to (GET /links/{link_id}).

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Prove the key to each other, then feed the child until it goes."""
        if self._handshakes >= HANDSHAKES_MAX:
            return web.Response(status=503)
        socket = web.WebSocketResponse(
            timeout=HANG_UP_S, heartbeat=HEARTBEAT_S, max_msg_size=MESSAGE_BYTES_MAX
        )
        self._handshakes += 1
        try:
            await socket.prepare(request)
            channel = Channel(socket)
            async with asyncio.timeout(HANDSHAKE_S):
                proven = await self._prove(request.match_info["link_id"], channel, socket)
        except (LinkError, TimeoutError, OSError) as error:
            log.warning("a link from %s is refused: %s", request.remote, error)
            await socket.close()
            return socket
        finally:
            self._handshakes -= 1
        offer, incarnation = proven
        await self._feed(offer, incarnation, channel)
        return socket

    async def _prove(
        self, link_id: str, channel: Channel, socket: web.WebSocketResponse
    ) -> tuple[OfferLink, Incarnation]:
        async def send(message: dict[str, Any]) -> None:
            await socket.send_bytes(msgpack.packb(message, use_bin_type=True))

        ours = nonce()
        await send({"type": "challenge", "nonce": ours})
        proof = await channel.receive()
        if proof is None or proof["type"] != "proof":
            raise LinkError("it proves nothing")
        theirs, child_id = field(proof, "nonce", bytes, NONCE_BYTES), field(proof, "child", str, 64)
        offer = self._offers.get(link_id)
        incarnation = Incarnation(link_id, self._node.node_id, child_id, ours, theirs)
        good = offer is not None and offer.child_id == child_id
        if (
            not good
            or offer is None
            or not incarnation.proves(offer.key, "child", proof.get("proof"))
        ):
            await send({"type": "refused", "why": "no such link, or another key"})
            raise LinkError(f"link {link_id} of node {child_id} is not known by this key")
        return offer, incarnation

    async def _feed(self, offer: OfferLink, incarnation: Incarnation, channel: Channel) -> None:
        node, class_id = self._node, offer.class_id
        room = node.room(class_id)
        below = Below(
            offer,
            number=node.next_number(),
            report_ssrc=node.ssrcs.take(),
            media=node.media,
            room=room,
            channel=channel,
        )
        self._below[below.number] = below
        writing = asyncio.create_task(channel.write())
        serving = asyncio.create_task(below.serve())
        try:
            below.open(incarnation, node.candidates, [*room.path, node.node_id])
            await asyncio.wait({writing, serving}, return_when=asyncio.FIRST_COMPLETED)
            for task in (writing, serving):
                if task.done():
                    task.result()
            if not channel.was_ended:
                # Cut off, perhaps: its media goes on until it has come again.
                await asyncio.sleep(LINGER_S)
        except (LinkError, OSError) as error:
            log.warning(
                "link %s of class %s: ended, node %s: %s",
                offer.link_id,
                class_id,
                offer.child_id,
                error,
            )
        finally:
            for task in (writing, serving):
                task.cancel()
            await asyncio.gather(writing, serving, return_exceptions=True)
            if channel.was_ended and not channel.is_over:
                self._offers.pop(offer.link_id, None)  # the child wanted it, and comes no more
            self._add(self.ended, below.number)
            del self._below[below.number]
            below.close()
            node.ssrcs.free([below.report_ssrc])
            node.let_go(room)

    # What a link asks of the node (`sfu.cascade.above.FollowingNode`).

    @property
    def node_id(self) -> str:
        return self._node.node_id

    def next_number(self) -> int:
        return self._node.next_number()

    def route(self, number: int, above: Above) -> None:
        self._by_number[number] = above

    def unroute(self, number: int) -> None:
        if self._by_number.pop(number, None) is not None:
            self._add(self.ended, number)

    def end_class(self, class_id: str, epoch: int) -> None:
        self._node.end_class(class_id, epoch)

    # Leaves.

    async def _answered(self, above: Above) -> None:
        try:
            await asyncio.shield(above.answered)
        except Looped as error:
            raise Refused("loop", str(error)) from error
        except asyncio.CancelledError:
            if not above.answered.cancelled():
                raise
            raise Refused("no_parent", "the link was ended meanwhile") from None
        except Exception as error:
            # Whatever kept the parent from answering; the link has said what it was.
            raise Refused("no_parent", str(error) or type(error).__name__) from error

    async def _replace(self, others: list[Above], above: Above) -> None:
        """End the class's older links upwards when this one feeds it."""
        try:
            async with asyncio.timeout(LINGER_S):
                await above.follows.wait()
        except TimeoutError:
            pass  # nothing flows in the class
        finally:
            for other in others:
                await self._end(other)
            self._replaced.pop(above, None)

    def _drop_above(self, class_id: str) -> None:
        above = self._above.pop(class_id, None)
        if above is None:
            return
        for other in [a for a in self._tasks if a.room is above.room]:
            other.is_over = True
            task = self._tasks.pop(other)
            task.cancel()
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
            other.room.unfollow(other)
        above.room.unfollow(above)
        self._tell_path(above.room)
        self._node.let_go(above.room)

    async def _end(self, above: Above) -> None:
        above.is_over = True
        task = self._tasks.pop(above, None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        above.room.unfollow(above)

    def _changed(self, above: Above) -> None:
        if self._above.get(above.take.class_id) is above and above.is_lost:
            self._node.hurry()

    def _path_changed(self, above: Above) -> None:
        self._tell_path(above.room)

    def _tell_path(self, room: Room) -> None:
        for below in self._of(room.class_id):
            below.tell_path([*room.path, self._node.node_id])

    def _of(self, class_id: str) -> list[Below]:
        return [b for b in self._below.values() if b.offer.class_id == class_id]

    def _note_placement(self, class_id: str, placement: int) -> None:
        newest = self._placements.pop(class_id, placement)
        self._placements[class_id] = max(newest, placement)  # and last, as the newest to be asked
        if len(self._placements) > PLACEMENTS_MAX:
            del self._placements[next(iter(self._placements))]
        if placement < newest:
            raise Refused("stale", f"placement {placement} of class {class_id}, {newest} is known")

    def _drain(self, now_s: float) -> None:
        if self._draining_since_s is None:
            self._draining_since_s = now_s
            for below in self._below.values():
                below.tell_moved()
        if now_s - self._draining_since_s < DRAINS_S:
            return
        for class_id, room in list(self._node.rooms.items()):
            if not room.sessions:
                for below in self._of(class_id):
                    below.channel.close()
                self._drop_above(class_id)

    def _add(self, sums: LinkFigures, number: int) -> None:
        stats = self._node.media.session_stats(number) or {}
        sums.packets_in += stats.get("packets_received", 0)
        sums.packets_out += stats.get("packets_out", 0)
        sums.packets_lost += stats.get("packets_given_up", 0)
        sums.packets_repaired += stats.get("packets_repaired", 0)
