"""Messages to open sessions with, without SDP."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

from signaling.offer import read_offer
from wire.session import OpenSession, Role

OFFERS = Path(__file__).parent.parent / "signaling" / "offers"
CLASS_ID = "0197f0aa-0000-7000-8000-000000000001"


def an_opening(
    role: Role = "viewer",
    *,
    session_id: str | None = None,
    fence: int = 1,
    user_id: str | None = None,
    class_id: str = CLASS_ID,
) -> OpenSession:
    """Return a message of a person of their own, with Chromium's offer."""
    return OpenSession(
        session_id=session_id or str(uuid4()),
        fence=fence,
        class_id=class_id,
        user_id=user_id or str(uuid4()),
        name="Bob",
        role=role,
        offer=read_offer((OFFERS / f"chromium_{role}.sdp").read_bytes(), role).offer,
    )
