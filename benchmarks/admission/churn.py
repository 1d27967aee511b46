"""What many joins and leaves leave behind in `seat`: size, dead rows, updates in place."""

from __future__ import annotations

import asyncio

import asyncpg

from benchmarks.admission import load, school
from benchmarks.admission.invariants import QUERIES
from benchmarks.admission.load import Load
from benchmarks.admission.processes import WebProcesses
from benchmarks.admission.servers import Servers
from benchmarks.report import Report, Row

TABLES = ("seat", "class")
CLASSES = 1000
SAMPLES = 10
# PostgreSQL's processes hand over their counts at the latest so long after a transaction (pgstat.c).
STATISTICS_DELAY_S = 1.5


def run(servers: Servers, rounds_of_joins: int, clients: int, report: Report) -> None:
    """Let people join and leave at once, `rounds_of_joins` times in all, and look at the tables between."""
    per_sample = -(-rounds_of_joins // SAMPLES)
    people = asyncio.run(school.people(servers.database_url, per_sample))
    classes = asyncio.run(school.live_classes(servers.database_url, CLASSES, per_sample))
    links = [made.link for made in classes]
    with WebProcesses(1, load.opened, servers.database_url, servers.redis_url) as web:
        for number in range(1, SAMPLES + 1):
            found = load.total(web.run([Load(people, links, clients, leaves=True)]))
            for table in TABLES:
                row = asyncio.run(_size(servers.database_url, table))
                report.add_row("growth", {"joins_and_leaves": number * per_sample} | row)
                if table == "seat":
                    report.figures |= {f"seat_{name}": value for name, value in row.items()}
                    report.say(
                        f"{number * per_sample:,} joins and leaves, {found.joins_per_s:,.0f}/s:"
                        f" seat has {row['mb']:.1f} MB, its indexes {row['index_mb']:.1f} MB,"
                        f" {row['dead_rows']:,} dead rows"
                    )
    report.figures["joins_and_leaves"] = SAMPLES * per_sample


async def _size(database_url: str, table: str) -> Row:
    await asyncio.sleep(STATISTICS_DELAY_S)
    connection = await asyncpg.connect(database_url)
    try:
        found = await connection.fetchrow(QUERIES["age.size"], table)
    finally:
        await connection.close()
    assert found is not None
    updates = found["n_tup_upd"]
    return {
        "table": table,
        "mb": found["table_bytes"] / 1e6,
        "index_mb": found["index_bytes"] / 1e6,
        "live_rows": found["n_live_tup"],
        "dead_rows": found["n_dead_tup"],
        "in_place_share": found["n_tup_hot_upd"] / updates if updates else None,
        "autovacuums": found["autovacuum_count"],
    }
