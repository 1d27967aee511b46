"""Sessions of the measured class, as both ends have to know them: numbers, passwords and keys."""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass, replace
from typing import Any

# Both ends: key || salt of AEAD_AES_128_GCM (RFC 7714).
KEY_BYTES = 28
PUBLISHER_SSRC = 0x7EAC
VIEWER_SSRC_FIRST = 0x100000
# Above any viewer's.
LINK_FIRST = 1_000_000
LINK_SSRC_FIRST = 0x2000000


@dataclass(frozen=True, slots=True)
class Session:
    """One session. `local` is what the node seals with, `remote` what the peer does, in hex."""

    session: int
    ssrc: int
    ice_ufrag: str
    ice_pwd: str
    local: str
    remote: str
    room: int

    @classmethod
    def make(cls, session: int, ssrc: int, room: int) -> Session:
        """Make one with fresh secrets; the ICE username fragment is unique by its number."""
        return cls(
            session,
            ssrc,
            f"b{session:07d}",
            secrets.token_hex(16),
            secrets.token_hex(KEY_BYTES),
            secrets.token_hex(KEY_BYTES),
            room,
        )

    def message(self) -> dict[str, Any]:
        """Return it for the node's process."""
        return asdict(self)

    def peer(self) -> str:
        """Return it as the load generator reads it, which has the other end."""
        return f"{self.ssrc} {self.ice_ufrag} {self.ice_pwd} {self.remote} {self.local}"

    def other_end(self) -> Session:
        """Return what the other end of a link has."""
        return replace(self, local=self.remote, remote=self.local)

    def with_wrong_key(self) -> Session:
        """Return it with another key for what the node seals, as if somebody had changed every packet."""
        return replace(self, local=secrets.token_hex(KEY_BYTES))


def link(number: int, room: int) -> Session:
    """Return the parent's end of a link; its SSRC and the next two are the link's."""
    return Session.make(LINK_FIRST + number, LINK_SSRC_FIRST + 4 * number, room)


def make(viewers: int, classes: int) -> tuple[list[Session], list[Session]]:
    """Return a publisher for each class, and so many viewers, dealt out to the classes in turn."""
    publishers = [
        Session.make(number, PUBLISHER_SSRC + number, number) for number in range(1, classes + 1)
    ]
    crowd = [
        Session.make(classes + number, VIEWER_SSRC_FIRST + number, 1 + number % classes)
        for number in range(1, viewers + 1)
    ]
    return publishers, crowd
