"""Opaque tokens: random, shown once, stored as their hash."""

from __future__ import annotations

import hashlib
import secrets

TOKEN_BYTES = 32  # 256 bits: guessing is no attack, so a plain hash is enough
LINK_BYTES = 18  # 144 bits, 24 characters; the contract asks for at least 128


def new_token() -> str:
    """Return a token for a session or an API client, 43 characters of base64url."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def new_link() -> str:
    """Return the token of a class's link."""
    return secrets.token_urlsafe(LINK_BYTES)


def digest(token: str) -> bytes:
    """Return what is stored of a token: SHA-256, 32 bytes."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
