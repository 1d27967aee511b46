"""Which node carries a class: Redis remembers, PostgreSQL decides.

A class's origin is written by a conditional update on (`placement_epoch`, node alive), so of two
processes that place one class one wins and the other reads what was decided. Redis holds the answer
for a few seconds and the nodes' load between two readings of the roster; without it every question
goes to PostgreSQL.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from dataclasses import dataclass
from uuid import UUID

from control.database import Database
from control.model import NodeAddress
from control.problem import Problem
from control.redis_map import RedisMap

log = logging.getLogger(__name__)

NODES_MAX = 4096
ROSTER_AGE_MAX_S = 1.0
TRIES_MAX = 4
# Choosing among the few least busy spreads a burst of new classes that all see the same roster.
CHOICES = 3


@dataclass(slots=True)
class _Known:
    address: NodeAddress
    busyness: float


class Placement:
    """Finds and chooses nodes."""

    def __init__(self, database: Database, redis_map: RedisMap) -> None:
        self._database = database
        self._map = redis_map
        self._roster: dict[UUID, _Known] = {}
        self._read_at = -ROSTER_AGE_MAX_S
        self._reading = asyncio.Lock()

    async def place(self, class_id: UUID, exclude: frozenset[UUID]) -> NodeAddress:
        """Return the live node that carries the class, choosing one where it has none.

        A node in `exclude` counts as none. Problems: no_capacity, not_found, class_ended.
        """
        remembered = await self._map.origin(class_id)
        if remembered is not None and remembered not in exclude:
            roster = await self._nodes()
            if remembered in roster:
                return roster[remembered].address
        for _ in range(TRIES_MAX):
            found = await self._database.row("node.origin", class_id)
            if found is None:
                raise Problem(404, "not_found", "There is no such class.")
            if found["state"] == "ended":
                raise Problem(410, "class_ended", "The class has ended.")
            origin = found["origin_node"]
            if found["alive"] and origin not in exclude:
                await self._map.remember_origin(class_id, origin)
                return NodeAddress(origin, found["internal_url"], found["secret"])
            chosen = await self._choose(exclude | ({origin} if origin else set()))
            epoch = found["placement_epoch"]
            placed = await self._database.value("node.place", class_id, chosen.node_id, epoch)
            if placed is not None:
                log.info("class %s is on node %s, epoch %d", class_id, chosen.node_id, placed)
                await self._map.remember_origin(class_id, chosen.node_id)
                return chosen
            self._read_at = -ROSTER_AGE_MAX_S  # the node died, or another process was quicker
        raise _no_capacity()

    async def _choose(self, exclude: frozenset[UUID] | set[UUID]) -> NodeAddress:
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
        best = min(few, key=lambda known: (known.busyness, random.random()))
        best.busyness += 1  # until the roster is read again
        return best.address

    async def _candidates(self, exclude: frozenset[UUID] | set[UUID]) -> list[_Known]:
        return [known for node, known in (await self._nodes()).items() if node not in exclude]

    async def _nodes(self) -> dict[UUID, _Known]:
        async with self._reading:
            if time.monotonic() - self._read_at > ROSTER_AGE_MAX_S:
                found = await self._database.rows("node.roster", NODES_MAX)
                self._roster = {
                    node["node_id"]: _Known(
                        NodeAddress(node["node_id"], node["internal_url"], node["secret"]),
                        busyness(node["sessions"], node["classes"]),
                    )
                    for node in found
                }
                self._read_at = time.monotonic()
            return self._roster


def busyness(sessions: int, classes: int) -> float:
    """Return how much a node has to do: a class costs a publisher even with nobody watching."""
    return float(sessions + classes)


def _no_capacity() -> Problem:
    return Problem(
        503, "no_capacity", "No media node is free at the moment; try again.", retry_after_s=2
    )
