"""The shape of a class's tree, decided without a clock or a database.

The origin is the root, edges hang below it, each node has at most `fanout` edges and none is deeper than
`DEPTH_MAX`. What stands and works is left as it is: a link that is made anew costs its viewers a moment.
So a tree is mended by giving those edges another parent whose own is gone, with all that hangs on them.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from uuid import UUID

from wire.link import DEPTH_MAX


@dataclass(frozen=True, slots=True)
class Edge:
    """A node of the tree that is not its root, and what it hangs on."""

    node_id: UUID
    parent: UUID
    depth: int


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a node: whether it can carry a class, whether it is about to stop, how busy it is."""

    works: bool
    draining: bool = False
    busyness: float = 0.0


@dataclass(slots=True)
class Plan:
    """What is to become of a tree."""

    gone: set[UUID] = field(default_factory=set)  # are no edges any more
    links: dict[UUID, UUID] = field(default_factory=dict)  # new ones, child -> parent
    depths: dict[UUID, int] = field(default_factory=dict)  # of every node, the origin's 0
    parents: dict[UUID, UUID] = field(default_factory=dict)  # of every edge

    def path(self, node: UUID) -> tuple[UUID, ...]:
        """Return the nodes from the origin to the node's parent."""
        above: list[UUID] = []
        while (parent := self.parents.get(node)) is not None:
            above.append(parent)
            node = parent
        return tuple(reversed(above))


def plan(
    origin: UUID,
    edges: Iterable[Edge],
    standing: Mapping[UUID, Standing],
    fanout: int,
    *,
    lost: Set[UUID] = frozenset(),
    relink: Set[UUID] = frozenset(),
    wish: UUID | None = None,
) -> Plan:
    """Return the tree that is to stand.

    `lost` are nodes to be left out although they may work, `relink` edges that need a new link (from
    another parent where there is one), `wish` a node that is to become an edge. Edges for which no parent
    has room are gone.
    """
    made = Plan(depths={origin: 0})
    stay: dict[UUID, Edge] = {}
    for edge in edges:
        known = standing.get(edge.node_id)
        works = known is not None and known.works and edge.node_id not in lost
        if works and edge.node_id != origin:
            stay[edge.node_id] = edge
        else:
            made.gone.add(edge.node_id)

    def gives(node: UUID) -> bool:
        known = standing.get(node)
        # An origin that does not work is moved; until then its edges wait for it.
        return node == origin or (
            node in stay and known is not None and known.works and not known.draining
        )

    below: dict[UUID, list[UUID]] = {}
    loose: deque[UUID] = deque()
    for edge in stay.values():
        if gives(edge.parent) and edge.node_id not in relink:
            below.setdefault(edge.parent, []).append(edge.node_id)
        else:
            loose.append(edge.node_id)
    children: Counter[UUID] = Counter()

    def attach(root: UUID, parent: UUID) -> None:
        """Take a node with all that hangs on it into the tree."""
        waiting = [(root, parent)]
        while waiting:
            node, above = waiting.pop()
            made.parents[node], made.depths[node] = above, made.depths[above] + 1
            children[above] += 1
            waiting += [(child, node) for child in below.get(node, ())]

    def dissolve(root: UUID) -> None:
        loose.extend(below.pop(root, ()))

    for child in below.get(origin, ()):
        attach(child, origin)
    _cut_deep(origin, below, made, children, loose)
    # Whoever hangs on nobody that was reached hangs in a loop: no row of ours, but nobody's to trust.
    reached = set(made.depths) | {n for root in loose for n in _under(root, below)}
    loose.extend(node for node in stay if node not in reached)
    for node in stay.keys() - reached:
        below.pop(node, None)
    if wish is not None and wish not in stay and wish != origin and wish not in made.gone:
        loose.append(wish)
    while loose:
        root = loose.popleft()
        height = _height(root, below)
        avoid = stay[root].parent if root in stay and root in relink else None
        able = [
            node
            for node, depth in made.depths.items()
            if gives(node) and children[node] < fanout and depth + 1 + height <= DEPTH_MAX
        ]
        if not able:
            dissolve(root)
            if height:
                loose.append(root)
            else:
                made.gone.add(root)
            continue
        parent = min(able, key=lambda node: _dearness(node, made, standing, children, avoid))
        attach(root, parent)
        made.links[root] = parent
    return made


def _dearness(
    node: UUID,
    made: Plan,
    standing: Mapping[UUID, Standing],
    children: Counter[UUID],
    avoid: UUID | None,
) -> tuple[bool, int, float, int, UUID]:
    """Return what a parent costs: a hop delays everybody behind it, so shallow ones come first."""
    known = standing.get(node)
    busy = known.busyness if known is not None else 1.0
    return node == avoid, made.depths[node], round(busy, 2), children[node], node


def _cut_deep(
    origin: UUID,
    below: dict[UUID, list[UUID]],
    made: Plan,
    children: Counter[UUID],
    loose: deque[UUID],
) -> None:
    """Let loose what has come to stand too deep: its parent was linked lower by somebody else."""
    for node in [n for n, depth in made.depths.items() if depth == DEPTH_MAX + 1]:
        parent = made.parents[node]
        below[parent].remove(node)
        children[parent] -= 1
        for deep in _under(node, below):
            del made.depths[deep], made.parents[deep]
        loose.append(node)


def _under(root: UUID, below: Mapping[UUID, list[UUID]]) -> set[UUID]:
    found: set[UUID] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += below.get(node, ())
    return found


def _height(root: UUID, below: Mapping[UUID, list[UUID]]) -> int:
    """Return how many links deep the subtree below a node is."""
    height, level = 0, list(below.get(root, ()))
    while level and height <= DEPTH_MAX:
        height += 1
        level = [child for node in level for child in below.get(node, ())]
    return height
