"""The scale benchmark: a small world goes through all phases, and a lost row is said."""

from __future__ import annotations

import asyncio

import asyncpg

from benchmarks.admission.servers import Servers
from benchmarks.report import Report
from benchmarks.scale import run
from benchmarks.scale.world import Size
from lectern.embedded import Postgres

SMALL = Size(classes=60, students=2, nodes=4, processes=2, clients=8, steady_s=1.0)


def test_a_small_world_ends_whole_and_what_is_not_is_noticed(
    postgres_server: Postgres, database_url: str, redis_url: str
) -> None:
    report = Report("scale")
    run.run(Servers(database_url, redis_url, postgres_server.pid), SMALL, report)
    assert report.not_held == []
    phases = {row["phase"]: row for row in report.tables["phases"]}
    assert list(phases) == ["create", "start", "publish", "join", "beat", "end"]
    assert phases["join"]["done"] == report.figures["attended"] == 120
    # Two processes beat for two nodes each, every 2 s and at once in the first.
    beats = phases["beat"]["beats_per_s"]
    assert isinstance(beats, float) and beats > 0
    assert {row["table"] for row in report.tables.get("tables", [])} <= {
        "account", "class", "seat", "attendance", "class_attendee", "node", "node_notice",
    }  # fmt: skip
    asyncio.run(lose_a_segment(database_url))
    again = Report("scale")
    asyncio.run(run.truth(database_url, SMALL, again))
    assert again.not_held == ["attended == joins", "joins <= segments <= joins + joins_tried_again"]


async def lose_a_segment(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(
            "DELETE FROM attendance WHERE session_id = (SELECT min(session_id::text)::uuid FROM attendance)"
        )
    finally:
        await connection.close()
