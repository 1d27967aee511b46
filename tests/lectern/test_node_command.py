"""`lectern node`: nodes are listed, and one is drained until it has stopped."""

from __future__ import annotations

import uuid

import psycopg

from tests.lectern.running import run_lectern

NODE = (
    "INSERT INTO node (node_id, secret, internal_url, addresses, version, sessions, lease_until)"
    " VALUES (%s, 's', 'unix:/nowhere', '[[\"10.0.0.1\", 7900]]', 'test', 3,"
    " clock_timestamp() + %s * interval '1 s')"
)


def test_a_node_is_listed_and_drained(database_url: str) -> None:
    extra = {"LECTERN_DATABASE_URL": database_url}
    one, two = (str(uuid.uuid4()) for _ in range(2))
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(NODE, (one, 60))
        connection.execute(NODE, (two, -1))
        listed = run_lectern("node", "list", extra=extra)
        lines = {line.split("\t")[0]: line.split("\t") for line in listed.stdout.splitlines()}
        assert lines[one][1:5] == ["serving", "3 sessions", "0 classes", "10.0.0.1:7900"]
        assert lines[two][1] == "dead"
        # It stops while it is waited for.
        connection.execute("UPDATE node SET lease_until = clock_timestamp() + interval '6 s'")
        connection.execute("UPDATE node SET reaped = true WHERE node_id = %s", (two,))
        drained = run_lectern("node", "drain", one[:8], extra=extra)
        assert drained.returncode == 0, drained.stderr
        assert drained.stdout.splitlines() == [f"{one} has 3 sessions left", f"{one} has stopped"]
        assert connection.execute(
            "SELECT draining FROM node WHERE node_id = %s", (one,)
        ).fetchone() == (True,)


def test_what_is_no_node_is_said(database_url: str) -> None:
    extra = {"LECTERN_DATABASE_URL": database_url}
    unknown = run_lectern("node", "drain", "cafe", extra=extra)
    assert unknown.returncode == 1 and "'cafe' is the id of no node that lives" in unknown.stderr
    assert run_lectern("node", "drain", extra=extra).returncode == 2
    assert run_lectern("node", "list", "cafe", extra=extra).returncode == 2
