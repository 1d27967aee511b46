"""The embedded servers start wherever a data directory may lie, and keep what they were given."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from lectern.embedded import EmbeddedError, Places, Postgres, Redis, places
from lectern.embedded.process import leftovers
from tests.lectern.running import environment, lives, wait_for

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to change the user")


@pytest.fixture
def home() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="lectern-embedded-", dir="/tmp"))
    made.chmod(0o755)
    yield made
    for link in made.rglob("data/servers"):
        shutil.rmtree(os.readlink(link), ignore_errors=True)
    shutil.rmtree(made, ignore_errors=True)


def _start_and_ask(data: Path) -> Places:
    """Start both servers over `data`, use both, stop both."""
    prepared = Places.prepare(data)
    postgres = Postgres.start(prepared, durable=False)
    map_ = Redis.start(prepared, durable=False)
    try:
        with psycopg.connect(postgres.url()) as connection:
            row = connection.execute("SELECT current_setting('server_version_num')").fetchone()
            assert row is not None and int(row[0]) >= 150000
        with redis.Redis.from_url(map_.url()) as connection_:
            assert connection_.ping()
    finally:
        map_.stop()
        postgres.stop()
    assert postgres.exit_code() == 0
    return prepared


@needs_root
def test_below_a_directory_that_is_closed_to_others(home: Path) -> None:
    closed = home / "closed"
    closed.mkdir(mode=0o700)
    prepared = _start_and_ask(closed / "data")
    assert closed.stat().st_mode & 0o777 == 0o700, "somebody else's directory was opened"
    assert (closed / "data" / "servers").resolve() == prepared.servers
    assert places.SHARED_HOME in prepared.servers.parents
    again = Places.prepare(closed / "data")
    assert again.servers == prepared.servers


@needs_root
def test_a_new_directory_does_not_find_the_old_ones_database(home: Path) -> None:
    closed = home / "closed"
    closed.mkdir(mode=0o700)
    first = Places.prepare(closed / "data")
    try:
        shutil.rmtree(closed / "data")
        assert Places.prepare(closed / "data").servers != first.servers
    finally:
        shutil.rmtree(first.servers)


@needs_root
def test_a_server_out_of_reach_is_copied(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lectern.embedded import binaries

    # As if the wheel lay below a closed directory; the copy in the data directory does not.
    usable = binaries._usable
    monkeypatch.setattr(
        binaries,
        "_usable",
        lambda directory, user: home in directory.parents and usable(directory, user),
    )
    prepared = _start_and_ask(home / "data")
    (copy,) = prepared.servers.glob("postgresql-*")
    assert list(copy.glob("*/*/bin/postgres"))
    assert not list(copy.glob("*/*/include"))
    _start_and_ask(home / "data")


@needs_root
def test_a_database_that_was_moved_out_of_reach_is_not_replaced_by_an_empty_one(home: Path) -> None:
    _start_and_ask(home / "data")
    closed = home / "closed"
    closed.mkdir(mode=0o700)
    (home / "data").rename(closed / "data")
    with pytest.raises(EmbeddedError, match="cannot reach the database"):
        Places.prepare(closed / "data")


def test_files_in_the_databases_place_are_not_removed(home: Path) -> None:
    prepared = Places.prepare(home / "data")
    precious = prepared.servers / "postgres" / "precious"
    precious.parent.mkdir()
    precious.write_text("mine")
    with pytest.raises(EmbeddedError, match="no database; move them away"):
        Postgres.start(prepared)
    assert precious.read_text() == "mine"


def test_in_a_directory_with_a_long_path(home: Path) -> None:
    long = home / ("long" * 30)
    long.mkdir()
    prepared = _start_and_ask(long / "data")
    assert len(str(prepared.run)) < 100
    assert (long / "data" / "run").resolve() == prepared.run
    shutil.rmtree(prepared.run)


def test_what_was_committed_survives_a_kill(home: Path) -> None:
    prepared = Places.prepare(home / "data")
    postgres = Postgres.start(prepared)
    with psycopg.connect(postgres.url()) as connection:
        row = connection.execute(
            "SELECT current_setting('fsync'), current_setting('synchronous_commit')"
        ).fetchone()
        assert row == ("on", "on")
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    os.kill(postgres.pid, signal.SIGKILL)
    wait_for(lambda: postgres.exit_code() is not None)
    again = Postgres.start(prepared)
    try:
        with psycopg.connect(again.url()) as connection:
            assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
    finally:
        again.stop()


def test_a_stale_lock_file_with_a_strangers_process_id_is_no_obstacle(home: Path) -> None:
    prepared = Places.prepare(home / "data")
    Postgres.start(prepared, durable=False).stop()
    # The id of a process of the same user, as it comes after a restart of a container.
    user = prepared.user
    stranger = subprocess.Popen(["sleep", "60"], user=None if user is None else user.pw_uid)
    try:
        lock = prepared.servers / "postgres" / "postmaster.pid"
        lock.write_text(f"{stranger.pid}\n{prepared.servers / 'postgres'}\n1\n5432\n\n\n\nready\n")
        if user is not None:
            os.chown(lock, user.pw_uid, user.pw_gid)
        Postgres.start(prepared, durable=False).stop()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_server_of_a_killed_parent_is_ended_by_the_next_start(home: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from lectern.embedded import *;"
        "places = Places.prepare(Path(sys.argv[1])); Postgres.start(places); Redis.start(places);"
        "print('up', flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(home / "data")],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == "up\n"
    parent.kill()
    parent.wait()
    left = leftovers(home / "data" / "postgres") + leftovers(home / "data" / "redis")
    assert len(left) >= 2, "nothing was left, so nothing is tested"
    _start_and_ask(home / "data")
    assert not any(lives(pid) for pid in left)


def test_a_database_of_another_version_is_named_in_a_sentence(home: Path) -> None:
    prepared = Places.prepare(home / "data")
    Postgres.start(prepared, durable=False).stop()
    (prepared.servers / "postgres" / "PG_VERSION").write_text("9\n")
    with pytest.raises(EmbeddedError, match=r"made by PostgreSQL 9.* apt install postgresql-9"):
        Postgres.start(prepared)
