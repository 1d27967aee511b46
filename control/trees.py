"""The trees of classes that are on more than one node, as PostgreSQL has them.

Whatever changes a tree does it under its class's lock: it reads what stands, lets `control.tree` decide, and
writes. So of two processes that add an edge at once the second one sees the first one's, and adds none.
Nodes are told after the commit, by `signaling`; a row says whether they have been (`told`) and until when
somebody is at it (`tell_after`), so what a process leaves undone another one does. The same link may be told
by both.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Set
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from control.database import Connection, Database, row, rows
from control.ids import uuid7
from control.metrics import TREE_CHANGES
from control.model import Link, NodeAddress, TreeChange
from control.tree import Edge, Plan, Standing, plan
from wire.beat import LostLink
from wire.link import DEPTH_MAX, KEY_BYTES

log = logging.getLogger(__name__)

# A telling is two requests of at most 3 s; then somebody else may try.
TELL_S = 4.0
# What a process believes of a tree without looking again.
SEEN_S = 0.5
# A count of a large class is asked for again after so many times the time that it took.
LOOK_SHARE = 20.0
SEEN_TREES_MAX = 1000
# Between the choice of a node and its being written down; longer on a busy machine, for few.
BINDS_S = 0.5
# A link that was lost within this time of its making did not last.
LASTS_S = 30.0
# An edge that loses so many links in a row gets nothing through: its viewers are better off elsewhere.
LOSSES_MAX = 5
# Of one round of healing.
CLASSES_PER_ROUND_MAX = 200
LINKS_PER_ROUND_MAX = 500
IDLE_PER_ROUND_MAX = 200
# Longer than a viewer's grace and a break between two lessons' worth of late comers; short beside what an
# idle copy costs.
IDLE_S = 60.0


@dataclass(frozen=True, slots=True)
class Known:
    """A node of a tree."""

    address: NodeAddress
    works: bool
    draining: bool
    row: Any


@dataclass(slots=True)
class Tree:
    """A class's tree as it was a moment ago, and who sits where."""

    class_id: UUID
    origin: UUID | None
    placement: int
    nodes: dict[UUID, Known]
    links: dict[UUID, Link]  # by edge
    seated: Counter[UUID] = field(default_factory=Counter)
    fresh_until: float = 0.0
    # By this process: what is not in `seated` yet.
    placed: list[tuple[float, UUID]] = field(default_factory=list)

    def place(self, node: UUID) -> None:
        """Count one more on a node."""
        self.placed.append((time.monotonic(), node))
        self.seated[node] += 1


@dataclass(frozen=True, slots=True)
class Wish:
    """A node that is to become an edge, if there is no edge but those that were `seen`."""

    node_id: UUID
    seen: frozenset[UUID]


class Trees:
    """Reads, grows, mends and prunes trees."""

    def __init__(
        self, database: Database, busyness: Callable[[Any], float], edges_per_node: int
    ) -> None:
        """`busyness` makes one figure of a node's row."""
        self._database = database
        self._busyness = busyness
        self._fanout = edges_per_node
        self._seen: OrderedDict[UUID, Tree] = OrderedDict()
        self._looking: dict[UUID, asyncio.Task[Tree]] = {}
        self._growing: dict[UUID, asyncio.Task[int]] = {}
        self.tell: Callable[[TreeChange], None] = lambda change: None

    async def close(self) -> None:
        tasks = [*self._looking.values(), *self._growing.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def seen(self, class_id: UUID) -> Tree:
        """Return the class's tree as of SEEN_S ago at the most; who asks at once waits for one look."""
        known = self._seen.get(class_id)
        if known is not None and time.monotonic() < known.fresh_until:
            self._seen.move_to_end(class_id)
            return known
        task = self._looking.get(class_id)
        if task is None:
            task = self._looking[class_id] = asyncio.create_task(
                self._look(class_id), name="looking at a tree"
            )
            task.add_done_callback(lambda done: self._looked(class_id, done))
        return await asyncio.shield(task)

    def forget(self, class_id: UUID) -> None:
        """Look again when somebody asks."""
        if (known := self._seen.get(class_id)) is not None:
            known.fresh_until = 0.0

    async def grow(self, class_id: UUID, wish: Wish) -> None:
        """Make a node an edge, unless somebody else has added one; who asks at once waits for one change."""
        task = self._growing.get(class_id)
        if task is None:
            task = self._growing[class_id] = asyncio.create_task(
                self._change(class_id, wish=wish), name="growing a tree"
            )
            task.add_done_callback(lambda done: self._grown(class_id, done))
        await asyncio.shield(task)

    async def mend(self, class_id: UUID, lost: Set[UUID] = frozenset()) -> None:
        """Put right what does not stand any more; `lost` nodes are to be edges no longer."""
        await self._change(class_id, lost=lost)

    async def link_told(self, link: Link) -> None:
        """Note that both nodes have taken the link."""
        node = link.child.node_id
        await self._database.rows("tree.told", link.class_id, node, link.link_id)
        self.forget(link.class_id)

    async def refused(self, link: Link) -> None:
        """Give an edge another link in the place of one that its nodes did not take."""
        await self._change(link.class_id, relink=(link.child.node_id, link.link_id), untold=True)

    async def links_lost(self, node_id: UUID, lost: tuple[LostLink, ...]) -> None:
        """Give edges that lost their links other ones. What a node says of others' is not believed."""
        for said in lost:
            try:
                class_id, link_id = UUID(said.class_id), UUID(said.link_id)
            except ValueError:
                log.warning("node %s says that it lost a link that is none: %.80r", node_id, said)
                continue
            await self._change(class_id, relink=(node_id, link_id))

    async def heal(self) -> None:
        """Mend the trees that need it, and let those links be told that nobody is telling."""
        for found in await self._database.rows("tree.ailing", CLASSES_PER_ROUND_MAX):
            await self._change(found["class_id"])
        due = await self._database.rows("tree.due", TELL_S, LINKS_PER_ROUND_MAX)
        classes: dict[UUID, set[UUID]] = {}
        for found in due:
            classes.setdefault(found["class_id"], set()).add(found["node_id"])
        for class_id, edges in classes.items():
            tree = await self._look(class_id)
            links = tuple(link for edge, link in tree.links.items() if edge in edges)
            log.info("class %s: %d links are told anew", class_id, len(links))
            self.tell(TreeChange(class_id, tree.placement, links))

    async def close_idle(self, idle_s: float = IDLE_S) -> int:
        """Close edges that nobody has used for `idle_s`; returns how many."""
        found = await self._database.rows("tree.look_for_idle", idle_s, IDLE_PER_ROUND_MAX)
        return sum([await self._change(f["class_id"], idle=f["node_id"]) for f in found])

    async def _look(self, class_id: UUID) -> Tree:
        began = time.monotonic()
        async with self._database.transaction() as connection:
            state = await _read(connection, class_id)
            seated = await rows(connection, "tree.seated", class_id)
        links = {edge: link for edge in state.edges if (link := state.link(edge)) is not None}
        tree = Tree(class_id, state.origin, state.placement, state.nodes, links)
        for found in seated:
            tree.seated[found["node_id"]] = found["people"]
        before = self._seen.get(class_id)
        for placed_at, node in before.placed if before is not None else ():
            if placed_at > began - BINDS_S:
                tree.placed.append((placed_at, node))
                tree.seated[node] += 1
        took = time.monotonic() - began
        tree.fresh_until = began + max(SEEN_S, took * LOOK_SHARE)
        self._seen[class_id] = tree
        self._seen.move_to_end(class_id)
        if len(self._seen) > SEEN_TREES_MAX:
            self._seen.popitem(last=False)
        return tree

    def _looked(self, class_id: UUID, task: asyncio.Task[Tree]) -> None:
        self._looking.pop(class_id, None)
        if not task.cancelled():
            task.exception()  # told to whoever waits

    def _grown(self, class_id: UUID, task: asyncio.Task[int]) -> None:
        self._growing.pop(class_id, None)
        if not task.cancelled():
            task.exception()  # told to whoever waits

    async def _change(
        self,
        class_id: UUID,
        *,
        lost: Set[UUID] = frozenset(),
        wish: Wish | None = None,
        relink: tuple[UUID, UUID] | None = None,
        untold: bool = False,
        idle: UUID | None = None,
    ) -> int:
        """Change a tree and tell of it; returns how many edges are none any more.

        `relink` names an edge and the link that it lost, or that was not taken (`untold`); `idle` an edge
        that is to be closed if it still is.
        """

        async def work(connection: Connection) -> TreeChange:
            await rows(connection, "class.lock", [class_id], 0.0)
            # In new statements: what another process wrote while we waited is seen by them alone.
            state = await _read(connection, class_id, wish.node_id if wish is not None else None)
            asked = _Asked(set(lost), wish, relink, untold)
            if idle is not None:
                if idle not in state.edges or await _value(
                    connection, "tree.is_used", class_id, idle
                ):
                    return TreeChange(class_id)
                asked.lost.add(idle)
            made = self._decide(state, asked)
            if made is None:
                return TreeChange(class_id)
            change = _told_of(state, made, closing=idle)
            await _write(connection, state, made, change, asked)
            return change

        change = await self._database.retried(work)
        self.forget(class_id)
        if change.links or change.dropped or change.closed:
            log.info("class %s: %s", class_id, _said(change))
            TREE_CHANGES.labels("linked").inc(len(change.links))
            TREE_CHANGES.labels("dropped").inc(len(change.dropped))
            TREE_CHANGES.labels("closed").inc(len(change.closed))
            self.tell(change)
        return len(change.dropped) + len(change.closed)

    def _decide(self, state: _State, asked: _Asked) -> Plan | None:
        """Return the tree that is to stand, None where it stands already."""
        if not state.edges and asked.wish is None:
            return None
        if not state.is_live or state.origin is None:
            return Plan(gone=set(state.edges)) if state.edges else None
        relink: set[UUID] = set()
        if asked.relink is not None:
            if not _believed(state, *asked.relink, untold=asked.untold):
                return None
            edge = asked.relink[0]
            if state.losses_of(edge) > LOSSES_MAX:
                log.warning(
                    "class %s: node %s loses every link; it is no edge any more",
                    *(state.class_id, edge),
                )
                asked.lost.add(edge)
            else:
                relink.add(edge)
        wish = asked.wish.node_id if asked.wish is not None else None
        # Another process was quicker, or the node is not what it was.
        if asked.wish is not None and (
            set(state.edges) - asked.wish.seen or not state.takes(asked.wish.node_id)
        ):
            wish = None
        standing = {
            node: Standing(known.works, known.draining, self._busyness(known.row))
            for node, known in state.nodes.items()
        }
        made = plan(
            state.origin,
            [Edge(e["node_id"], e["parent"], e["depth"]) for e in state.edges.values()],
            standing,
            self._fanout,
            lost=asked.lost,
            relink=relink,
            wish=wish,
        )
        if wish is not None and wish in made.gone:
            log.warning("class %s: no node has room for one more edge", state.class_id)
        return made


@dataclass(slots=True)
class _Asked:
    lost: set[UUID]
    wish: Wish | None
    relink: tuple[UUID, UUID] | None
    untold: bool


@dataclass(slots=True)
class _State:
    """A tree's rows, read under the class's lock."""

    class_id: UUID
    is_live: bool
    origin: UUID | None
    placement: int
    edges: dict[UUID, Any]
    nodes: dict[UUID, Known]

    def takes(self, node: UUID) -> bool:
        known = self.nodes.get(node)
        return known is not None and known.works and not known.draining

    def losses_of(self, edge: UUID) -> int:
        """Return the losses in a row, with the one that is reported now."""
        row = self.edges[edge]
        return row["losses"] + 1 if row["young"] else 0

    def link(self, edge: UUID, made: Plan | None = None) -> Link | None:
        """Return the link of an edge, a new one where `made` gives it one; None without its nodes."""
        old = self.edges.get(edge)
        if made is not None and edge in made.links:
            parent, path = made.links[edge], made.path(edge)
        elif old is not None:
            parent, path = old["parent"], self._path(edge)
        else:
            return None
        child, above = self.nodes.get(edge), self.nodes.get(parent)
        if child is None or above is None:
            return None
        if made is not None and edge in made.links:
            version = old["link_version"] + 1 if old is not None else 1
            link_id, key, placement = uuid7(), secrets.token_bytes(KEY_BYTES), self.placement
            told = False
        else:
            assert old is not None
            version, link_id, key = old["link_version"], old["link_id"], old["key"]
            placement, told = old["placement_epoch"], old["told"]
        return Link(
            self.class_id,
            link_id,
            version,
            placement,
            key,
            path,
            above.address,
            child.address,
            told,
        )

    def _path(self, edge: UUID) -> tuple[UUID, ...]:
        path: list[UUID] = []
        while (row := self.edges.get(edge)) is not None and len(path) < DEPTH_MAX:
            edge = row["parent"]
            path.append(edge)
        return tuple(reversed(path))


def _believed(state: _State, node: UUID, link: UUID, *, untold: bool) -> bool:
    """Return whether a link may be called lost (by its node) or not taken (by who told it)."""
    row = state.edges.get(node)
    if row is None and untold:
        return False
    if row is None:
        log.warning("node %s says it lost a link of class %s, of which it is no edge",
                    *(node, state.class_id))  # fmt: skip
        return False
    if row["parent"] == state.origin and not state.takes(state.origin):
        return False  # the class is about to move, and its edges with it
    # Of an older link it may speak until it has the new one; one that is being told is nobody's yet.
    return bool(row["link_id"] == link and row["told"] is not untold)


async def _read(connection: Connection, class_id: UUID, more: UUID | None = None) -> _State:
    found = await row(connection, "tree.origin", class_id)
    edges = await rows(connection, "tree.of_class", class_id, LASTS_S)
    origin = found["origin_node"] if found is not None else None
    wanted = {e["node_id"] for e in edges} | {e["parent"] for e in edges} | {origin, more}
    nodes = await rows(connection, "tree.nodes", [n for n in wanted if n is not None])
    return _State(
        class_id,
        found is not None and found["state"] == "live",
        origin,
        found["placement_epoch"] if found is not None else 0,
        {e["node_id"]: e for e in edges},
        {n["node_id"]: _known(n, found["placement_epoch"] if found is not None else 0)
         for n in nodes},
    )  # fmt: skip


def _known(node: Any, placement: int) -> Known:
    media = tuple((str(host), int(port)) for host, port in json.loads(node["addresses"]))
    address = NodeAddress(
        node["node_id"], node["internal_url"], node["secret"], media, epoch=placement
    )
    return Known(address, bool(node["works"]), node["draining"], node)


def _told_of(state: _State, made: Plan, closing: UUID | None) -> TreeChange:
    """Return what nodes hear of a plan."""
    links = [link for edge in made.links if (link := state.link(edge, made)) is not None]
    dropped, closed = [], []
    for edge in made.gone & state.edges.keys():
        link = state.link(edge)
        if edge == closing and link is not None:
            closed.append(link)
        elif edge in state.nodes and edge != state.origin and state.is_live:
            dropped.append(state.nodes[edge].address)
    return TreeChange(state.class_id, state.placement, tuple(links), tuple(dropped), tuple(closed))


async def _write(
    connection: Connection, state: _State, made: Plan, change: TreeChange, asked: _Asked
) -> None:
    class_id = state.class_id
    if made.gone:
        await rows(connection, "tree.drop", class_id, list(made.gone))
    kept = [
        e for e in state.edges if e in made.depths and e not in made.links and e != state.origin
    ]
    if kept:
        await rows(connection, "tree.sink", class_id, kept, [made.depths[e] for e in kept])
    if change.links:
        edges = [link.child.node_id for link in change.links]
        relinked = asked.relink[0] if asked.relink is not None else None
        await rows(
            connection,
            "tree.link",
            class_id,
            state.placement,
            TELL_S,
            edges,
            [link.parent.node_id for link in change.links],
            [made.depths[edge] for edge in edges],
            [link.link_id for link in change.links],
            [link.key for link in change.links],
            [state.losses_of(edge) if edge == relinked else 0 for edge in edges],
        )


async def _value(connection: Connection, query: str, *values: Any) -> Any:
    found = await row(connection, query, *values)
    return None if found is None else found[0]


def _said(change: TreeChange) -> str:
    """Return a change in words, for the log."""
    words = [
        f"node {link.child.node_id} hangs on {link.parent.node_id}, depth {len(link.path)}"
        for link in change.links
    ]
    words += [f"node {node.node_id} is no edge any more" for node in change.dropped]
    words += [f"the idle edge {link.child.node_id} is closed" for link in change.closed]
    return "; ".join(words)
