"""WHIP and WHEP: SDP in and out, and the way of a session onto a node.

`Signaling(control)` has `add_routes`, `open` and `close`; nothing else is for other packages.
"""

from __future__ import annotations

from signaling.service import Signaling

__all__ = ["Signaling"]
