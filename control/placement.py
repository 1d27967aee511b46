"""Which node carries a class: Redis remembers, PostgreSQL decides.

A class's origin is written by a conditional update on (`placement_epoch`, node fit), so of two
processes that place one class one wins and the other reads what was decided. Redis holds the answer
for a few seconds and the nodes' load between two readings of the roster; without it every question
goes to PostgreSQL.

The nodes are found in PostgreSQL's `node` table, which every process reads once a second: a list of
all nodes in Redis would be a key that every shard's clients want from one shard.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import Set
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from control.database import Database
from control.model import NodeAddress
from control.problem import Problem
from control.redis_map import RedisMap
from wire.beat import Load

log = logging.getLogger(__name__)

NODES_MAX = 4096
ROSTER_AGE_MAX_S = 1.0
TRIES_MAX = 4
# Two beats and a lost one's retry: an older word is no reason to end anything, but none to send
# new classes there either.
BEAT_AGE_MAX_S = 4.5
SHUN_S = 5.0

# What fills a node: the first of these that is used up. Half of each is kept for growth: a class is
# placed once and then fills, and its node cannot give it away.
SESSIONS_FULL = 2000.0  # aiortc's SCTP sets the density
CLASSES_FULL = 1000.0
EGRESS_FULL_BPS = 2e9
CPU_FULL = 1.6  # cores: one of the media thread, and of Python's what it may take without lagging
LOOP_LAG_FULL_MS = 250.0
NATIVE_LAG_FULL_MS = 20.0
GROWTH_KEPT = 0.5
# Chosen among with weights: a burst that all sees the same roster spreads by itself, and the choice
# stays with the least busy ones.
CHOICES = 8
# What a class is taken for until its node's next beat.
CLASS_USES = 0.01


@dataclass(slots=True)
class _Known:
    address: NodeAddress
    fit: bool
    shunned: bool
    busyness: float


class Placement:
    """Finds and chooses nodes."""

    def __init__(
        self, database: Database, redis_map: RedisMap, dice: random.Random | None = None
    ) -> None:
        self._database = database
        self._map = redis_map
        self._dice = dice or random.Random()
        self._roster: dict[UUID, _Known] = {}
        self._read_at = -ROSTER_AGE_MAX_S
        self._reading = asyncio.Lock()

    async def place(self, class_id: UUID, exclude: frozenset[UUID]) -> NodeAddress:
        """Return the live node that carries the class, choosing one where it has none.

        A node in `exclude` counts as none. A node that drains keeps the classes that it has until it
        refuses them itself: it knows whom it has sent away. Problems: no_capacity, not_found,
        class_ended.
        """
        remembered = await self._map.origin(class_id)
        if remembered is not None and remembered[0] not in exclude:
            known = (await self._nodes()).get(remembered[0])
            if known is not None and not known.shunned:
                return replace(known.address, epoch=remembered[1])
        for _ in range(TRIES_MAX):
            found = await self._database.row("node.origin", class_id)
            if found is None:
                raise Problem(404, "not_found", "There is no such class.")
            if found["state"] == "ended":
                raise Problem(410, "class_ended", "The class has ended.")
            origin, epoch = found["origin_node"], found["placement_epoch"]
            if found["alive"] and origin not in exclude:
                await self._map.remember_origin(class_id, origin, epoch)
                return await self._address(origin, found, epoch)
            chosen = await self._choose(exclude | ({origin} if origin else set()))
            placed = await self._database.value("node.place", class_id, chosen.node_id, epoch)
            if placed is not None:
                log.info("class %s is on node %s, epoch %d", class_id, chosen.node_id, placed)
                await self._map.remember_origin(class_id, chosen.node_id, placed)
                return replace(chosen, epoch=placed)
            self._read_at = -ROSTER_AGE_MAX_S  # the node died, or another process was quicker
        raise _no_capacity()

    async def living(self) -> list[NodeAddress]:
        """Return the nodes that live, shunned ones included, as of a second ago at the most."""
        return [known.address for known in (await self._nodes()).values()]

    async def shun(self, node_id: UUID) -> None:
        """Let nothing be placed on a node for SHUN_S, by any process, because its media is silent."""
        already = await self._database.value("node.shun", node_id, SHUN_S)
        if already is False:
            log.warning("node %s is out of rotation: its media does not answer", node_id)
        known = self._roster.get(node_id)
        if known is not None:
            known.fit, known.shunned = False, True

    async def _address(self, node_id: UUID, found: Any, epoch: int) -> NodeAddress:
        known = (await self._nodes()).get(node_id)
        media = known.address.media if known is not None else ()
        return NodeAddress(node_id, found["internal_url"], found["secret"], media, epoch)

    async def _choose(self, exclude: Set[UUID]) -> NodeAddress:
        candidates = await self._candidates(exclude)
        if not candidates:
            # A node may have registered since the roster was read.
            self._read_at = -ROSTER_AGE_MAX_S
            candidates = await self._candidates(exclude)
        if not candidates:
            raise _no_capacity()
        candidates.sort(key=lambda known: known.busyness)
        few = candidates[:CHOICES]
        fresh = await self._map.loads([known.address.node_id for known in few])
        for known, load in zip(few, fresh, strict=True):
            if load is not None:
                known.busyness = max(known.busyness, load)
        chosen = choose([known.busyness for known in few], self._dice)
        few[chosen].busyness += CLASS_USES  # until the roster is read again
        return few[chosen].address

    async def _candidates(self, exclude: Set[UUID]) -> list[_Known]:
        nodes = await self._nodes()
        return [known for node, known in nodes.items() if known.fit and node not in exclude]

    async def _nodes(self) -> dict[UUID, _Known]:
        async with self._reading:
            if time.monotonic() - self._read_at > ROSTER_AGE_MAX_S:
                found = await self._database.rows("node.roster", NODES_MAX, BEAT_AGE_MAX_S)
                self._roster = {node["node_id"]: _known(node) for node in found}
                self._read_at = time.monotonic()
            return self._roster


def busyness(load: Load) -> float:
    """Return which part of what a node can do is used, by what is used most; 1: it is full.

    A class costs a publisher even with nobody watching.
    """
    return max(
        load.sessions / SESSIONS_FULL + load.classes / CLASSES_FULL,
        load.egress_bps / EGRESS_FULL_BPS,
        load.cpu / CPU_FULL,
        load.loop_lag_ms / LOOP_LAG_FULL_MS,
        load.native_lag_ms / NATIVE_LAG_FULL_MS,
    )


def choose(busy: list[float], dice: random.Random) -> int:
    """Return the index of one of a few nodes, by chance and the more likely the more room it has.

    A node with its room for growth used up gets a class only where all of them are so, and then the
    least busy one gets it.
    """
    room = [max(0.0, 1.0 - GROWTH_KEPT - used) for used in busy]
    if not any(room):
        return min(range(len(busy)), key=lambda index: (busy[index], dice.random()))
    # Squared, so that one with half the room of another gets a quarter of the classes.
    return dice.choices(range(len(busy)), [part * part for part in room])[0]


def _known(node: Any) -> _Known:
    media = tuple((str(host), int(port)) for host, port in json.loads(node["addresses"]))
    load = Load(
        sessions=node["sessions"],
        classes=node["classes"],
        egress_bps=node["egress_bps"],
        cpu=node["cpu"],
        loop_lag_ms=node["loop_lag_ms"],
        native_lag_ms=node["native_lag_ms"],
    )
    address = NodeAddress(node["node_id"], node["internal_url"], node["secret"], media)
    return _Known(address, node["fit"], node["shunned"], busyness(load))


def _no_capacity() -> Problem:
    return Problem(
        503, "no_capacity", "No media node is free at the moment; try again.", retry_after_s=2
    )
