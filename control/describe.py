"""Describe a database's schema in text that is the same on every version of PostgreSQL.

`python -m control.describe URL > control/schema.txt` writes the file that a test holds the
migrations against; a reader finds the tables there without replaying them.
"""

from __future__ import annotations

import sys

import psycopg

from control.queries import QUERIES


def describe(database_url: str) -> str:
    """Return tables, columns, constraints, indexes and storage settings, one per line, sorted."""
    with psycopg.connect(database_url) as connection:
        lines: list[str] = []
        for part in ("tables", "columns", "constraints", "indexes", "triggers"):
            lines += [row[0] for row in connection.execute(QUERIES[f"describe.{part}"].encode())]
    return "".join(f"{line}\n" for line in sorted(lines))


if __name__ == "__main__":
    sys.stdout.write(describe(sys.argv[1]))
