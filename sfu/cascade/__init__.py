"""Classes larger than a node: the links of this node to its parents and children (`wire.link`).

Cascade    what control asks, and everything that is under way
Above      the child's end of one link: follows a parent, speaks for its subtree
Below      the parent's end: feeds a child, takes its word for its subtree and no more
Channel    messages between the two, within bounds
keys       who proves what, and the keys of an incarnation
"""

from sfu.cascade.tree import Cascade

__all__ = ["Cascade"]
