"""`lectern user`, beside a running server and without one."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

import control
from lectern.data_lock import lock
from lectern.embedded import Places, Postgres
from tests.lectern.running import run_lectern


@pytest.fixture
def data() -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix="lectern-user-", dir="/tmp"))
    yield home / "data"
    shutil.rmtree(home, ignore_errors=True)


def insert_person(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(
            "WITH made AS (INSERT INTO account (account_id, name, role)"
            " VALUES (gen_random_uuid(), 'Ada Lovelace', 'teacher') RETURNING account_id)"
            " INSERT INTO identity (issuer, subject, account_id, email, password_hash)"
            " SELECT 'password', 'ada@example.org', account_id, 'Ada@example.org', 'x' FROM made"
        )


def test_it_works_beside_a_running_server_and_without_one(data: Path) -> None:
    options = ("--data", str(data))
    # From nothing: the database is made for it, and stopped again.
    assert run_lectern("user", "list", *options).stdout == ""
    places = Places.prepare(data)
    server = Postgres.start(places)
    try:
        with lock(places.data):
            control.migrate(server.url())
            insert_person(server.url())
            listed = run_lectern("user", "list", *options)
            assert listed.stdout.split("\t")[:3] == ["Ada@example.org", "teacher", "-"]
            assert listed.stdout.rstrip().endswith("Ada Lovelace")
            reset = run_lectern("user", "reset-password", "ada@example.org", *options)
            assert (reset.returncode, len(reset.stdout.strip())) == (0, 16), reset.stderr
            assert server.exit_code() is None  # it was used and left alone
    finally:
        server.stop()
    for action, mark in (("make-operator", "operator"), ("disable", "operator,disabled")):
        assert run_lectern("user", action, "ada@example.org", *options).returncode == 0
        assert run_lectern("user", "list", *options).stdout.split("\t")[2] == mark
    assert run_lectern("user", "delete", "ada@example.org", *options).returncode == 0
    assert run_lectern("user", "list", *options).stdout == ""


def test_what_cannot_be_done_is_one_sentence(postgres_server: Postgres, database_url: str) -> None:
    here = {"LECTERN_DATABASE_URL": database_url}
    for arguments, code, text in (
        (("delete", "nobody@example.org"), 1, "no account with the address nobody@example.org"),
        (("delete",), 2, "needs the e-mail address"),
        (("list", "ada@example.org"), 2, "takes no address"),
    ):
        done = run_lectern("user", *arguments, extra=here)
        assert done.returncode == code and text in done.stderr, done.stderr
        assert "Traceback" not in done.stderr
    away = {"LECTERN_DATABASE_URL": postgres_server.url("nowhere")}
    done = run_lectern("user", "list", extra=away)
    assert done.returncode == 2 and "cannot be reached" in done.stderr, done.stderr
