"""Which node carries a class and which one serves a viewer: Redis remembers, PostgreSQL decides.

A class's origin is written by a conditional update on (`placement_epoch`, node fit), so of two
processes that place one class one wins and the other reads what was decided. Redis holds the answer
for a few seconds and the nodes' load between two readings of the roster; without it every question
goes to PostgreSQL.

A viewer goes to the class's origin while it has room, then to an edge of the class (`control.trees`).
Whether a node has room is judged by its last beat and by what was placed on it since. Of a class that
fills quickly, what other processes placed counts too: PostgreSQL is asked who sits where, a few times a
second at the most.

The nodes are found in PostgreSQL's `node` table, which every process reads once a second: a list of
all nodes in Redis would be a key that every shard's clients want from one shard.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import random
import time
from collections import Counter, OrderedDict
from collections.abc import Set
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from control.batcher import Batcher
from control.database import Connection, Database, rows
from control.metrics import HEADROOM, NODES
from control.model import NodeAddress, ViewerPlace
from control.problem import Problem
from control.redis_map import RedisMap
from control.trees import Tree, Trees, Wish
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
SESSIONS_FULL = 2000  # aiortc's SCTP sets the density; `Limits` may say otherwise
CLASSES_FULL = 1000.0
EGRESS_FULL_BPS = 2e9
CPU_FULL = 1.6  # cores: one of the media thread, and of Python's what it may take without lagging
LOOP_LAG_FULL_MS = 250.0
NATIVE_LAG_FULL_MS = 20.0
GROWTH_KEPT = 0.5
# Viewers fill a node further than classes do, up to here: what is left is for those who come back to it
# and for edges that hang on it.
VIEWERS_FULL = 0.85
LOAD_TELLS_FROM = 0.05
# An edge costs its parent what a viewer does; a tree of three levels of eight has 584 edges.
EDGES_PER_NODE = 8
# The word of a beat is as old as this, and what was placed meanwhile is not in it.
PLACED_WINDOW_S = 2.0
# From so many viewers of a class in a window on (of those that fill a node), what other processes place
# counts as well, and PostgreSQL is asked for it.
COUNTED_FROM = 0.025
CLASSES_COUNTED_MAX = 4096
# A node takes some 400 joins a second (docs/performance.md) while it serves those who watch. So of a stampede
# into one class a process sends a node so many between two looks at the tree, half a second apart, and
# opens edges for the rest before the first ones are full.
JOINS_PER_LOOK_MAX = 50
GROWS_MAX = 3
PLACING_LANES = 2
# Chosen among with weights: a burst that all sees the same roster spreads by itself, and the choice
# stays with the least busy ones.
CHOICES = 8
# What a class is taken for until its node's next beat.
CLASS_USES = 0.01


@dataclass(frozen=True, slots=True)
class Limits:
    """What a node takes, where an operator knows better."""

    sessions_per_node: int = SESSIONS_FULL
    edges_per_node: int = EDGES_PER_NODE


@dataclass(frozen=True, slots=True)
class _Placing:
    class_id: UUID
    node_id: UUID
    epoch: int  # as it was read: who decides on an older one has lost


@dataclass(slots=True)
class _Known:
    address: NodeAddress
    fit: bool
    shunned: bool
    draining: bool
    busyness: float
    load: Load


class _Recent:
    """How many were placed in the last one to two windows."""

    __slots__ = ("_before", "_now", "_since")

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._now = self._before = 0

    def add(self) -> None:
        self._turn()
        self._now += 1

    def count(self) -> int:
        self._turn()
        return self._now + self._before

    def _turn(self) -> None:
        windows = int((time.monotonic() - self._since) / PLACED_WINDOW_S)
        if windows:
            self._before = self._now if windows == 1 else 0
            self._now = 0
            self._since += windows * PLACED_WINDOW_S


class Placement:
    """Finds and chooses nodes."""

    def __init__(
        self,
        database: Database,
        redis_map: RedisMap,
        dice: random.Random | None = None,
        *,
        limits: Limits | None = None,
    ) -> None:
        self._database = database
        self._map = redis_map
        self._dice = dice or random.Random()
        self._limits = limits or Limits()
        self.trees = Trees(
            database,
            lambda node: busyness(_load(node), self._limits.sessions_per_node),
            self._limits.edges_per_node,
        )
        self._placing: Batcher[_Placing, int | None] = Batcher(
            "placing", PLACING_LANES, self._place_some
        )
        self._placed: dict[UUID, _Recent] = {}  # by node
        self._joins: OrderedDict[UUID, _Recent] = OrderedDict()  # by class
        self._roster: dict[UUID, _Known] = {}
        self._read_at = -ROSTER_AGE_MAX_S
        self._reading = asyncio.Lock()

    async def close(self) -> None:
        """End what places."""
        await self._placing.close()
        await self.trees.close()

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
            chosen = await self._choose_origin(
                exclude | ({origin} if origin else set()), frozenset(found["edges"])
            )
            placed = await self._placing.do(class_id, _Placing(class_id, chosen.node_id, epoch))
            if placed is not None:
                log.info("class %s is on node %s, epoch %d", class_id, chosen.node_id, placed)
                await self._map.remember_origin(class_id, chosen.node_id, placed)
                if found["edges"]:
                    # Those who watch there stay; should this process die now, another one mends it.
                    await self.trees.mend(class_id)
                return replace(chosen, epoch=placed)
            self._read_at = -ROSTER_AGE_MAX_S  # the node died, or another process was quicker
        raise _no_capacity()

    async def _place_some(self, wanted: list[_Placing]) -> list[int | Exception | None]:
        """Place classes, committed; the epoch of each, None where it is to be looked at again."""
        # The first of several wishes for a class wins, as one that came a moment later would lose.
        first = {placing.class_id: placing for placing in reversed(wanted)}

        async def work(connection: Connection) -> dict[UUID, int]:
            some = list(first.values())
            await rows(connection, "class.lock", list(first), 0.0)
            found = await rows(
                connection,
                "node.place",
                list(first),
                [placing.node_id for placing in some],
                [placing.epoch for placing in some],
            )
            return {f["class_id"]: f["placement_epoch"] for f in found}

        placed = await self._database.retried(work)
        return [
            placed.get(placing.class_id) if first[placing.class_id] is placing else None
            for placing in wanted
        ]

    async def place_viewer(
        self,
        class_id: UUID,
        *,
        stays_on: UUID | None = None,
        exclude: frozenset[UUID] = frozenset(),
        full: frozenset[UUID] = frozenset(),
        grows: bool = True,
    ) -> ViewerPlace:
        """Return the node of the class that is to serve one more viewer, an edge being opened where none
        has room (and where the class `grows`: its nodes may not be able to).

        The origin while it has room, then the emptiest edge; who comes back stays where they were
        (`stays_on`) while that is a node of the class. `exclude` do not work, `full` take nobody.
        Problems as of `place`.
        """
        origin = await self.place(class_id, exclude)
        here = stays_on in (None, origin.node_id) and origin.node_id not in full
        if self._comes_slowly(class_id) and here and await self._has_room(origin.node_id):
            self._recent(origin.node_id).add()
            return ViewerPlace(origin)
        closed = exclude | full
        for _ in range(GROWS_MAX):
            tree = await self.trees.seen(class_id)
            if tree.origin != origin.node_id:  # moved since one of the two was read
                self.trees.forget(class_id)
                tree = await self.trees.seen(class_id)
            if not grows:
                closed |= {edge for edge, link in tree.links.items() if not link.told}
            place = await self._in_tree(tree, origin, stays_on, closed)
            if place is None:
                chosen = await self._choose_edge(closed | tree.nodes.keys()) if grows else None
                if chosen is None:
                    place = await self._least_full(tree, origin, closed)
            if place is not None:
                return self._counted(tree, place)
            assert chosen is not None
            await self.trees.grow(class_id, Wish(chosen, frozenset(tree.links)))
        # Others came before us each time: then where it is least full, for an edge is on its way.
        tree = await self.trees.seen(class_id)
        return self._counted(tree, await self._least_full(tree, origin, closed))

    def _counted(self, tree: Tree, place: ViewerPlace) -> ViewerPlace:
        self._recent(place.node.node_id).add()
        tree.place(place.node.node_id)
        return place

    async def _in_tree(
        self, tree: Tree, origin: NodeAddress, stays_on: UUID | None, closed: Set[UUID]
    ) -> ViewerPlace | None:
        """Return a node of the tree that has room."""
        able = [origin.node_id, *tree.links]
        roster = await self._nodes()
        fullness = {
            node: self._fullness(known, tree.seated[node])
            for node in able
            if node not in closed and (known := roster.get(node)) is not None and not known.shunned
        }
        # Whoever was there is counted there: room for growth is kept for them too.
        if stays_on in fullness and not roster[stays_on].draining and fullness[stays_on] <= 1.0:
            return _place(tree, origin, stays_on)
        lately = Counter(node for _, node in tree.placed)
        fullness = {n: full for n, full in fullness.items() if lately[n] < JOINS_PER_LOOK_MAX}
        if fullness.get(origin.node_id, 1.0) < VIEWERS_FULL:
            return _place(tree, origin, origin.node_id)
        edges = [
            node
            for node in tree.links
            if fullness.get(node, 1.0) < VIEWERS_FULL and roster[node].fit
        ]
        if not edges:
            return None
        return _place(tree, origin, min(edges, key=lambda node: (fullness[node], node)))

    async def _least_full(self, tree: Tree, origin: NodeAddress, closed: Set[UUID]) -> ViewerPlace:
        """Return the node of the tree that is least over its room; there is no other node."""
        roster = await self._nodes()
        able = [
            node
            for node in (origin.node_id, *tree.links)
            if node not in closed and (known := roster.get(node)) is not None and not known.shunned
        ]
        if not able:
            raise _no_capacity()
        return _place(
            tree, origin, min(able, key=lambda n: (self._fullness(roster[n], tree.seated[n]), n))
        )

    def _comes_slowly(self, class_id: UUID) -> bool:
        """Count one more viewer of a class; return whether only few came in the last seconds."""
        recent = self._joins.pop(class_id, None) or _Recent()
        self._joins[class_id] = recent
        if len(self._joins) > CLASSES_COUNTED_MAX:
            self._joins.popitem(last=False)
        recent.add()
        return recent.count() <= max(1.0, COUNTED_FROM * self._limits.sessions_per_node)

    async def _has_room(self, node_id: UUID) -> bool:
        known = (await self._nodes()).get(node_id)
        if known is None:  # it has just registered, or is about to be found dead
            return True
        sessions = known.load.sessions + self._recent(node_id).count()
        return self._fullness(known, sessions) < VIEWERS_FULL

    def _fullness(self, known: _Known, sessions: int) -> float:
        """Return how full a node is for viewers; `sessions` is our count, the beat's may be higher.

        What lags for a moment is no reason to open an edge, what lags until it is full is one. A class
        that is there already costs no more for one more viewer.
        """
        load = known.load
        filled = max(
            max(load.sessions, sessions) / self._limits.sessions_per_node,
            load.egress_bps / EGRESS_FULL_BPS,
        )
        # Whom a node with few viewers lags for are not they: one more elsewhere would be no relief.
        overloaded = known.busyness >= 1.0 and filled >= LOAD_TELLS_FROM
        return max(filled, 1.0) if overloaded else filled

    def _recent(self, node_id: UUID) -> _Recent:
        return self._placed.setdefault(node_id, _Recent())

    async def _choose_origin(self, exclude: Set[UUID], edges: Set[UUID]) -> NodeAddress:
        """Return a node for the class; one that is an edge already only where there is no other."""
        try:
            return await self._choose(exclude | edges)
        except Problem:
            if not edges:
                raise
            return await self._choose(exclude)

    async def _choose_edge(self, exclude: Set[UUID]) -> UUID | None:
        try:
            # Not anew: each joiner of a class that has all nodes comes past here.
            return (await self._choose(exclude, below=VIEWERS_FULL, anew=False)).node_id
        except Problem:
            return None

    async def living(self) -> list[NodeAddress]:
        """Return the nodes that live, shunned ones included, as of a second ago at the most."""
        return [known.address for known in (await self._nodes()).values()]

    async def headroom(self, node_id: UUID) -> float | None:
        """Return which part of a node is free, by what it uses most; None where it does not live."""
        known = (await self._nodes()).get(node_id)
        return None if known is None else max(0.0, 1.0 - known.busyness)

    def _tell_metrics(self) -> None:
        known = self._roster.values()
        fit = [node for node in known if node.fit]
        NODES.labels("fit").set(len(fit))
        NODES.labels("draining").set(sum(node.draining for node in known))
        NODES.labels("silent").set(sum(not node.fit and not node.draining for node in known))
        free = (VIEWERS_FULL - self._fullness(node, node.load.sessions) for node in fit)
        HEADROOM.set(round(sum(max(0.0, part) for part in free) * self._limits.sessions_per_node))

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

    async def _choose(
        self, exclude: Set[UUID], below: float = math.inf, *, anew: bool = True
    ) -> NodeAddress:
        """Return a node that may get a class and is not too busy; Problem no_capacity.

        Where there is none the roster is read `anew`: a node may have registered meanwhile.
        """
        candidates = await self._candidates(exclude, below)
        if not candidates and anew:
            self._read_at = -ROSTER_AGE_MAX_S
            candidates = await self._candidates(exclude, below)
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

    async def _candidates(self, exclude: Set[UUID], below: float) -> list[_Known]:
        nodes = await self._nodes()
        return [
            known
            for node, known in nodes.items()
            if known.fit and node not in exclude and known.busyness < below
        ]

    async def _nodes(self) -> dict[UUID, _Known]:
        async with self._reading:
            if time.monotonic() - self._read_at > ROSTER_AGE_MAX_S:
                found = await self._database.rows("node.roster", NODES_MAX, BEAT_AGE_MAX_S)
                full = self._limits.sessions_per_node
                self._roster = {node["node_id"]: _known(node, full) for node in found}
                for gone in self._placed.keys() - self._roster.keys():
                    del self._placed[gone]
                self._tell_metrics()
                self._read_at = time.monotonic()
            return self._roster


def busyness(load: Load, sessions_full: int = SESSIONS_FULL) -> float:
    """Return which part of what a node can do is used, by what is used most; 1: it is full.

    A class costs a publisher even with nobody watching.
    """
    return max(
        load.sessions / sessions_full + load.classes / CLASSES_FULL,
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


def _known(node: Any, sessions_full: int) -> _Known:
    media = tuple((str(host), int(port)) for host, port in json.loads(node["addresses"]))
    load = _load(node)
    address = NodeAddress(node["node_id"], node["internal_url"], node["secret"], media)
    return _Known(
        address,
        node["fit"],
        node["shunned"],
        node["draining"],
        busyness(load, sessions_full),
        load,
    )


def _load(node: Any) -> Load:
    return Load(
        sessions=node["sessions"],
        classes=node["classes"],
        egress_bps=node["egress_bps"],
        cpu=node["cpu"],
        loop_lag_ms=node["loop_lag_ms"],
        native_lag_ms=node["native_lag_ms"],
    )


def _place(tree: Tree, origin: NodeAddress, node: UUID) -> ViewerPlace:
    if node == origin.node_id:
        return ViewerPlace(origin)
    link = tree.links[node]
    # Under the placement that stands, which may be newer than that of the link.
    return ViewerPlace(replace(link.child, epoch=tree.placement), link)


def _no_capacity() -> Problem:
    return Problem(
        503, "no_capacity", "No media node is free at the moment; try again.", retry_after_s=2
    )
