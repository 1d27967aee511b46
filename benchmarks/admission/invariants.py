"""What must hold at every moment, whatever races: asked of the database, in snapshots."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import asyncpg

from control.database import Connection
from control.queries import load

QUERIES = load(Path(__file__).parent / "sql")
# The whole of attendance may be long; nothing of production waits for this.
CHECK_TIMEOUT_S = 300.0

Violations = Counter[str]


async def check(database_url: str, *, segments: bool) -> Violations:
    """Return how often each invariant is broken; with `segments` those of all attendance as well.

    One statement sees one snapshot, in which no transaction is half done.
    """
    connection = await asyncpg.connect(database_url, server_settings={"jit": "off"})
    try:
        broken = await violations(connection, "invariants.seats")
        if segments:
            broken += await violations(connection, "invariants.segments")
        return broken
    finally:
        await connection.close()


async def violations(connection: Connection, query: str, *values: object) -> Violations:
    """Run one query that finds what must never be."""
    found = await connection.fetch(QUERIES[query], *values, timeout=CHECK_TIMEOUT_S)
    return Counter(row["what"] for row in found)
