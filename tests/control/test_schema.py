"""The migrations make the schema that is written down, whatever ran before or beside them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

import control
from control import ids, queries
from control.describe import describe
from lectern.embedded import Postgres

# The package's own `migrate` is the function.
control_migrate = sys.modules["control.migrate"]
MIGRATIONS = Path(control.__file__).parent / "migrations"
SCHEMA = Path(control.__file__).parent / "schema.txt"


@pytest.fixture
def empty_database(postgres_server: Postgres) -> str:
    name = f"empty_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return postgres_server.url(name)


def test_racing_migrations_make_the_schema_once(empty_database: str) -> None:
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(control.migrate, [empty_database] * 4))
    assert describe(empty_database) == SCHEMA.read_text()
    control.migrate(empty_database)
    assert describe(empty_database) == SCHEMA.read_text()


def test_the_server_is_the_one_that_was_asked_for(empty_database: str) -> None:
    wanted = os.environ.get("TEST_POSTGRES_VERSION")
    with psycopg.connect(empty_database) as connection:
        major = connection.info.server_version // 10000
    assert major == int(wanted) if wanted else major >= 16


def test_a_lock_that_a_killed_migration_left_holds_up_nobody(empty_database: str) -> None:
    control.migrate(empty_database)
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute("INSERT INTO yoyo_lock (locked, ctime, pid) VALUES (1, now(), 1)")
    control.migrate(empty_database)


def test_every_query_parses_against_the_schema(shared_database: str) -> None:
    with psycopg.connect(shared_database, autocommit=True) as connection:
        for name, query in queries.QUERIES.items():
            connection.execute(f"PREPARE q AS {query}", prepare=False)
            connection.execute("DEALLOCATE q")
            assert name


def test_no_sql_stands_in_python() -> None:
    for path in Path(control.__file__).parent.glob("*.py"):
        text = path.read_text()
        for word in ("SELECT ", "INSERT ", "UPDATE ", "DELETE FROM"):
            assert word not in text or path.name in ("migrate.py", "describe.py"), path


def test_ids_are_version_7_and_sorted_by_time() -> None:
    made = [ids.uuid7_at(ms, 0x3FF << 62 | 5) for ms in (0, 1, 2**40, 2**48 - 1)]
    assert made == sorted(made)
    for value in (*made, ids.uuid7()):
        assert (value.version, value.variant) == (7, uuid.RFC_4122)
    assert len({ids.uuid7() for _ in range(1000)}) == 1000


def test_a_query_given_twice_is_refused() -> None:
    with pytest.raises(ValueError):
        queries.parse("-- a: b\nSELECT 1\n\n-- a: b\nSELECT 2")


def test_a_comment_within_a_query_begins_no_other() -> None:
    text = "-- a: b\n--\n-- page: a word\nSELECT 1\n-- c: d\n\n-- e: f\nSELECT 2"
    assert list(queries.parse(text)) == ["a", "e"]


@pytest.fixture
def first_schema(empty_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database of the first release, with a person who is signed in."""
    for name in ("0001-accounts.sql", "0002-classes.sql"):
        shutil.copy(MIGRATIONS / name, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(control_migrate, "MIGRATIONS", tmp_path)
        control.migrate(empty_database)
    with psycopg.connect(empty_database) as connection:
        connection.execute(
            "INSERT INTO account (account_id, name, role)"
            " VALUES (gen_random_uuid(), 'a', 'teacher')"
        )
        sign_in(connection, "before")
    return empty_database


def sign_in(connection: psycopg.Connection[tuple[object, ...]], token: str) -> None:
    """As the first release does it."""
    connection.execute(
        "INSERT INTO session_token (token_sha256, account_id, expires_at)"
        " SELECT sha256(%s), account_id, now() FROM account",
        [token.encode()],
    )


def test_the_release_before_goes_on_over_a_migration(first_schema: str) -> None:
    control.migrate(first_schema)
    assert describe(first_schema) == SCHEMA.read_text()
    with psycopg.connect(first_schema) as connection:
        sign_in(connection, "after")
        found = connection.execute(
            "SELECT count(DISTINCT token_id), max(client) FROM session_token"
        )
        assert found.fetchone() == (2, "")


def test_a_migration_waits_for_a_busy_table_without_stopping_others(
    first_schema: str, caplog: pytest.LogCaptureFixture
) -> None:
    with psycopg.connect(first_schema) as busy, ThreadPoolExecutor(1) as threads:
        sign_in(busy, "in a long transaction")
        migration = threads.submit(control.migrate, first_schema)
        deadline = time.monotonic() + 60
        while "a table that is in use" not in caplog.text:
            assert time.monotonic() < deadline and not migration.done()
            time.sleep(0.05)
        # The migration has given up its place in line, so others get theirs.
        with psycopg.connect(first_schema) as other:
            sign_in(other, "meanwhile")
        busy.commit()
        migration.result(60)
    assert describe(first_schema) == SCHEMA.read_text()


@pytest.mark.long
@pytest.mark.postgres(15)
@pytest.mark.timeout(600)
def test_everything_of_control_holds_on_the_oldest_supported_postgresql() -> None:
    """Every test of control that is not about the API's description, on PostgreSQL 15."""
    folder = Path(__file__).parent
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)),
            *("--ignore", str(folder / "test_api_keeps_its_description.py")),
        ],
        cwd=folder.parents[1],
        env={**os.environ, "TEST_POSTGRES_VERSION": "15"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None and int(passed[1]) > 100, done.stdout[-500:]
