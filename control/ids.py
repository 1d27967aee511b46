"""Identifiers: UUID version 7 (RFC 9562 section 5.7), made by us and sorted by time."""

from __future__ import annotations

import secrets
import time
from uuid import UUID


def uuid7() -> UUID:
    """Return a new UUIDv7: 48 bits of Unix milliseconds, 74 random bits."""
    return uuid7_at(time.time_ns() // 1_000_000, secrets.randbits(74))


def uuid7_at(unix_ms: int, random_bits: int) -> UUID:
    """Return the UUIDv7 of a moment and 74 bits of randomness."""
    high = random_bits >> 62
    low = random_bits & ((1 << 62) - 1)
    value = (unix_ms & ((1 << 48) - 1)) << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low
    return UUID(int=value)


def parse_uuid(text: str) -> UUID | None:
    """Return the id that `text` holds in its canonical form; None for anything else."""
    try:
        value = UUID(text)
    except ValueError:
        return None
    # UUID() also takes braces, urn: and missing hyphens; one thing has one name here.
    return value if str(value) == text.lower() else None
