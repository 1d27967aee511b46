"""A class on more than one node: what `web` tells both ends of a link from a node to one of its edges.

The nodes of a class are a tree. Its root, the origin, has the teacher; every other node, an edge, takes
one copy from its parent and serves viewers and edges of its own. `web` decides the tree, makes each
link's key and tells the parent first (`OfferLink`), then the child (`TakeLink`), which connects to its
parent and proves that it has the key. SRTP keys of the link are derived from it; it is never logged.

| request                             | body      | answer                                         |
|-------------------------------------|-----------|------------------------------------------------|
| POST /classes/{class_id}/links      | OfferLink | 204; 409 stale, 503 wrong_node, no_capacity    |
| POST /classes/{class_id}/upstream   | TakeLink  | 204 when its parent has answered; 409 loop,    |
|                                     |           | stale; 503 no_parent                           |
| DELETE /classes/{class_id}/links    | CloseLink | 204, also where it is gone                     |
| DELETE /classes/{class_id}/upstream | CloseLink | 204, also where it is gone                     |

All as in `wire.session`, with the secret of the node that is asked, and a `Refusal` where refused. A
request may come twice: what is known already changes nothing. A child whose link is lost says so in its
beats (`wire.beat.LostLink`); the link that heals it has another id and key.
"""

from __future__ import annotations

from dataclasses import dataclass

KEY_BYTES = 32
DEPTH_MAX = 4
# Edges that hang on one node of a class.
CHILDREN_PER_CLASS_MAX = 64


@dataclass(frozen=True, slots=True)
class OfferLink:
    """Told to the parent: a child with this key will come. It replaces an older link to that child."""

    link_id: str  # UUID
    class_id: str  # UUID
    child_id: str  # UUID of the node
    placement: int  # placement_epoch of the class; an older one is stale
    key: bytes  # KEY_BYTES, random


@dataclass(frozen=True, slots=True)
class TakeLink:
    """Told to the child: get the class from this parent. It replaces an older parent without a gap."""

    link_id: str  # UUID
    class_id: str  # UUID
    parent_id: str  # UUID of the node
    parent_url: str  # of its internal API
    placement: int
    key: bytes  # KEY_BYTES, the same as the parent was told
    # Ids of the nodes from the origin to the parent; with the child in it the tree would have a loop.
    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CloseLink:
    """Told to the child (upstream) or the parent (links): this link is over; another one is left alone."""

    link_id: str  # UUID
