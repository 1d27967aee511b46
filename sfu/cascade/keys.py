"""What the key of a link (`wire.link`) proves, and what is derived from it.

Each connection of the two ends is an incarnation with nonces of both, so that no SRTP key is ever used
for two of them: a (key, SSRC, index) is sealed once.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

if TYPE_CHECKING:
    from sfu._core import Profile

NONCE_BYTES = 32
PROFILE: Profile = "AEAD_AES_128_GCM"
_SRTP_BYTES = 28  # key and salt (RFC 7714 section 12)

End = Literal["parent", "child"]


@dataclass(frozen=True, slots=True)
class Incarnation:
    """One connection of a link: who is at its ends, and the nonces that both have made."""

    link_id: str
    parent_id: str
    child_id: str
    parent_nonce: bytes
    child_nonce: bytes

    def proof(self, key: bytes, end: End) -> bytes:
        """Return what shows that this end has the key."""
        return hmac.new(key, self._text(f"proof of the {end}"), hashlib.sha256).digest()

    def proves(self, key: bytes, end: End, given: object) -> bool:
        return isinstance(given, bytes) and hmac.compare_digest(self.proof(key, end), given)

    def keys(self, key: bytes) -> LinkKeys:
        """Return what both ends derive (HKDF, RFC 5869)."""
        material = HKDF(SHA256(), 2 * _SRTP_BYTES + 24, None, self._text("keys")).derive(key)
        return LinkKeys(
            down=material[:_SRTP_BYTES],
            up=material[_SRTP_BYTES : 2 * _SRTP_BYTES],
            ufrag=material[2 * _SRTP_BYTES : -16].hex(),
            pwd=material[-16:].hex(),
        )

    def _text(self, purpose: str) -> bytes:
        ids = "|".join((purpose, self.link_id, self.parent_id, self.child_id))
        return b"lectern link 1|" + ids.encode() + b"|" + self.parent_nonce + self.child_nonce


@dataclass(frozen=True, slots=True)
class LinkKeys:
    """SRTP keys with their salts by direction, and the credentials of the child's STUN checks."""

    down: bytes
    up: bytes
    ufrag: str
    pwd: str


def nonce() -> bytes:
    return secrets.token_bytes(NONCE_BYTES)
