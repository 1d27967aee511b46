"""Telling nodes of the links that PostgreSQL has decided (`control.trees`): the parent, then the child.

    decided --parent offered--> offered --child took it--> told
       |  refused, silent          |  refused, silent
       +---------------------------+--> another link, or no edge any more

Whoever opens a session on an edge waits until its link is told; all who ask at once wait for one telling.
What changes beside that (a node died, the origin moved) is told in tasks. A process that dies in between
leaves a row that says so: any other process tells it again a few seconds later, the same link with the
same key, which changes nothing where it was taken already.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Coroutine
from typing import Any
from uuid import UUID

import asyncpg

from control import AWAY, Control, Link, NodeAddress, Problem, TreeChange
from signaling.node_client import NodeClient, NodeRefused, NodeUnreachable
from wire.link import CloseLink, OfferLink, TakeLink
from wire.session import MoveClass

log = logging.getLogger(__name__)

HEAL_INTERVAL_S = 1.0
IDLE_INTERVAL_S = 10.0
TELLINGS_MAX = 1024
# An origin that the class has just been placed on has it only when its first session is there.
ORIGIN_AGAIN_S = 0.25
ORIGIN_TRIES_MAX = 12
# Refusals after which a node is no edge of the class; after others another link may do.
HAS_NOT = frozenset({"wrong_node", "draining", "no_capacity"})


class Links:
    """Tells links, and heals trees beside; holds nothing that is not in PostgreSQL."""

    def __init__(self, control: Control, nodes: NodeClient) -> None:
        self._control = control
        self._nodes = nodes
        self._telling: dict[UUID, asyncio.Task[bool]] = {}  # by link
        self._tasks: set[asyncio.Task[Any]] = set()
        control.when_tree_changes(self._changed)

    def start(self) -> None:
        self._spawn(self._heal(), "healing trees")

    async def close(self) -> None:
        tasks = [*self._tasks, *self._telling.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def tell(self, link: Link) -> bool:
        """Tell both nodes of a link; False where one did not take it, upon which the tree was changed."""
        task = self._telling.get(link.link_id)
        if task is None:
            name = f"link {link.link_id}"
            task = self._telling[link.link_id] = asyncio.create_task(self._tell(link), name=name)
            task.add_done_callback(lambda done: self._told(link.link_id, done))
        return await asyncio.shield(task)

    def _told(self, link_id: UUID, task: asyncio.Task[bool]) -> None:
        self._telling.pop(link_id, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("link %s was not told: %r", link_id, error)

    async def _tell(self, link: Link) -> bool:
        if not await self._offer(link):
            return False
        if not await self._take(link):
            return False
        await self._control.link_told(link)
        return True

    async def _offer(self, link: Link) -> bool:
        child = str(link.child.node_id)
        message = OfferLink(str(link.link_id), str(link.class_id), child, link.placement, link.key)
        is_origin = len(link.path) == 1
        for again in range(ORIGIN_TRIES_MAX if is_origin else 1):
            if again:
                await asyncio.sleep(ORIGIN_AGAIN_S)
            try:
                await self._nodes.offer_link(link.parent, message)
                return True
            except NodeRefused as error:
                log.warning("link %s: its parent %s refused: %s",
                            *(link.link_id, link.parent.node_id, error))  # fmt: skip
                if is_origin and error.refusal.code == "wrong_node":
                    continue
                if not is_origin and error.refusal.code == "no_capacity":
                    await self._control.relink(
                        link
                    )  # it is a node of the class; others may have room
                else:
                    await self._amend(link, link.parent, error.refusal.code, is_origin)
                return False
            except NodeUnreachable as error:
                log.warning("link %s: %s", link.link_id, error)
                if is_origin:
                    return False  # whoever comes to it moves the class
                await self._control.lose_edge(link.class_id, link.parent.node_id)
                return False
        return False

    async def _take(self, link: Link) -> bool:
        message = TakeLink(
            str(link.link_id),
            str(link.class_id),
            str(link.parent.node_id),
            link.parent.internal_url,
            link.placement,
            link.key,
            tuple(str(node) for node in link.path),
        )
        try:
            await self._nodes.take_link(link.child, message)
            return True
        except NodeRefused as error:
            log.warning("link %s: its child %s refused: %s",
                        *(link.link_id, link.child.node_id, error))  # fmt: skip
            await self._amend(link, link.child, error.refusal.code, is_origin=False)
        except NodeUnreachable as error:
            log.warning("link %s: %s", link.link_id, error)
            await self._control.lose_edge(link.class_id, link.child.node_id)
        return False

    async def _amend(self, link: Link, node: NodeAddress, code: str, is_origin: bool) -> None:
        """Change a tree in which a node did not take a link."""
        if code in HAS_NOT and not is_origin:
            await self._control.lose_edge(link.class_id, node.node_id)
        elif not is_origin:
            await self._control.relink(link)

    def _changed(self, change: TreeChange) -> None:
        """Tell nodes of a change that was committed."""
        for link in change.links:
            self._spawn(self.tell(link), f"telling of link {link.link_id}")
        class_id = str(change.class_id)
        for node in change.dropped:
            # Sessions of the placement that stands are meant as well.
            leave = self._nodes.move_class(node, class_id, MoveClass(change.placement + 1))
            self._spawn(_quietly(leave), "a dropped edge")
        for link in change.closed:
            over = CloseLink(str(link.link_id))
            for closing in (
                self._nodes.close_upstream(link.child, class_id, over),
                self._nodes.close_link(link.parent, class_id, over),
            ):
                self._spawn(_quietly(closing), "an idle edge")

    def _spawn(self, work: Coroutine[Any, Any, Any], name: str) -> None:
        if len(self._tasks) >= TELLINGS_MAX:
            work.close()  # the rows tell that it was not done
            return
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("%s: %r", task.get_name(), error)

    async def _heal(self) -> None:
        loop = asyncio.get_running_loop()
        look_at = loop.time() + IDLE_INTERVAL_S
        while True:
            # Jittered: several processes need not do it at the same moment.
            await asyncio.sleep(HEAL_INTERVAL_S * (0.5 + random.random()))
            try:
                await self._control.heal_trees()
                if loop.time() >= look_at:
                    look_at = loop.time() + IDLE_INTERVAL_S
                    await self._control.close_idle_edges()
            except (*AWAY, Problem) as error:
                log.info("no tree is healed while the database is away: %r", error)
            except asyncpg.PostgresError:
                log.exception("a statement that heals trees failed; it is tried again")


async def _quietly(telling: Coroutine[Any, Any, None]) -> None:
    try:
        await telling
    except (NodeRefused, NodeUnreachable) as error:
        log.info("a node will hear in a later beat what it is no more: %s", error)
