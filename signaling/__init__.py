"""WHIP and WHEP: SDP in and out, and the way of a session onto a node.

`Signaling(control)` has `add_routes`, `open` and `close`; `Turn` says where a TURN server is.
"""

from __future__ import annotations

from signaling.service import Signaling
from signaling.turn import Turn

__all__ = ["Signaling", "Turn"]
