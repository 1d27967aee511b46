"""Named queries out of control/sql/*.sql.

A query begins with `-- name: purpose`, first in its file or after an empty line, and ends where the
next one begins. Its key is the file's name and its own: `-- create: ...` in `account.sql` is
`account.create`.
"""

from __future__ import annotations

import re
from pathlib import Path

SQL = Path(__file__).parent / "sql"

_HEADER = re.compile(r"(?:\A|(?<=\n\n))-- ([a-z0-9_]+): (\S.*)$", re.MULTILINE)


def parse(text: str) -> dict[str, str]:
    """Return the queries of one file by name; ValueError for a name given twice or an empty query."""
    headers = list(_HEADER.finditer(text))
    queries: dict[str, str] = {}
    for header, following in zip(headers, [*headers[1:], None], strict=True):
        body = text[header.end() : following.start() if following else len(text)].strip()
        if not body or header[1] in queries:
            raise ValueError(f"query {header[1]} is empty or there twice")
        queries[header[1]] = body
    return queries


def load(folder: Path = SQL) -> dict[str, str]:
    """Return every query as `file.name`."""
    return {
        f"{path.stem}.{name}": query
        for path in sorted(folder.glob("*.sql"))
        for name, query in parse(path.read_text()).items()
    }


QUERIES = load()
