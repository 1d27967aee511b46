"""`lectern user`, beside a running server and without one."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

import control
from lectern import cli
from lectern.data_lock import lock
from lectern.embedded import Places, Postgres

Run = Callable[..., tuple[int, str, str]]
ADA = "ada@example.org"


@pytest.fixture
def data() -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix="lectern-user-", dir="/tmp"))
    yield home / "data"
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def user(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `lectern user ...` in this process; returns (code, standard output, standard error)."""

    def run(*arguments: str) -> tuple[int, str, str]:
        code = cli.main(["user", *arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def insert_person(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(
            "WITH made AS (INSERT INTO account (account_id, name, role)"
            " VALUES (gen_random_uuid(), 'Ada Lovelace', 'teacher') RETURNING account_id)"
            " INSERT INTO identity (issuer, subject, account_id, email, password_hash)"
            " SELECT 'password', 'ada@example.org', account_id, 'Ada@example.org', 'x' FROM made"
        )


def test_it_works_beside_a_running_server_and_without_one(data: Path, user: Run) -> None:
    here = ("--data", str(data))
    places = Places.prepare(data)
    server = Postgres.start(places)
    try:
        with lock(places.data):
            control.migrate(server.url())
            insert_person(server.url())
            code, listed, _ = user("list", *here)
            assert (code, listed.split("\t")[:3]) == (0, ["Ada@example.org", "teacher", "-"])
            assert listed.endswith("\tAda Lovelace\n")
            code, password, _ = user("reset-password", ADA, *here)
            assert (code, len(password.strip())) == (0, 16)
            for action, marks in (
                ("make-operator", "operator"),
                ("disable", "operator,disabled"),
                ("enable", "operator"),
                ("unmake-operator", "-"),
                ("make-operator", "operator"),
            ):
                assert user(action, ADA, *here) == (0, "", "")
                assert user("list", *here)[1].split("\t")[2] == marks
            assert server.exit_code() is None  # it was used and left alone
    finally:
        server.stop()
    assert user("delete", ADA, *here)[0] == 0
    with pytest.raises(psycopg.OperationalError):  # what was started for it is stopped again
        psycopg.connect(Postgres.running_url(places))
    code, listed, _ = user("list", *here)
    assert (code, listed) == (0, "")


def test_what_cannot_be_done_is_one_sentence(
    postgres_server: Postgres, database_url: str, user: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LECTERN_DATABASE_URL", database_url)
    for arguments, wanted, text in (
        (("delete", "nobody@example.org"), 1, "no account with the address nobody@example.org"),
        (("delete",), 2, "needs the e-mail address"),
        (("list", ADA), 2, "takes no address"),
    ):
        code, _, said = user(*arguments)
        assert (code, text in said, len(said.splitlines())) == (wanted, True, 1), said
    monkeypatch.setenv("LECTERN_DATABASE_URL", postgres_server.url("nowhere"))
    code, _, said = user("list")
    assert (code, "cannot be reached" in said, len(said.splitlines())) == (2, True, 1), said
