"""Back the database up while everything runs, and restore it into an empty one.

PostgreSQL's own pg_dump and pg_restore do it; a backup is one snapshot, whatever happens meanwhile. Redis
keeps nothing that is worth keeping, and the cluster's secret can be made anew.
"""

from __future__ import annotations

import argparse
import os
import subprocess
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from lectern.data_lock import DataInUse, lock
from lectern.embedded import Places, Postgres
from lectern.embedded.binaries import find_client
from lectern.migrate import migrate
from lectern.say import say
from lectern.settings import SettingError, Settings

# What libpq takes from the environment, where not everybody on the machine can read it.
VARIABLES = {
    "host": "PGHOST",
    "port": "PGPORT",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "dbname": "PGDATABASE",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
}


def add_arguments(parser: argparse.ArgumentParser, command: str) -> None:
    """Add the file to write or to read."""
    text = "to write; nothing is overwritten" if command == "backup" else "that `backup` wrote"
    parser.add_argument("file", metavar="FILE", type=Path, help=text)


def backup(settings: Settings, file: Path) -> int:
    """Write the database to `file`, readable by its owner only: it holds names and password hashes."""
    if file.exists():
        raise SettingError(f"{file} exists; a backup overwrites nothing.")
    if settings.database_url is not None:
        return _dump(settings.database_url, file)
    places = Places.prepare(settings.data)
    try:
        held = lock(places.data)
    except DataInUse:
        return _dump(Postgres.running_url(places), file)  # `lectern up` has it
    with held:
        server = Postgres.start(places)
        try:
            return _dump(server.url(), file)
        finally:
            server.stop()


def restore(settings: Settings, file: Path) -> int:
    """Fill an empty database with what `file` holds, and bring its schema up to date."""
    if not file.is_file():
        raise SettingError(f"{file} is not a file.")
    if settings.database_url is not None:
        return _load(settings.database_url, file)
    places = Places.prepare(settings.data)
    with lock(places.data):
        server = Postgres.start(places)
        try:
            return _load(server.url(), file)
        finally:
            server.stop()


def _dump(url: str, file: Path) -> int:
    partial = file.with_name(file.name + ".partial")
    os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
    try:
        _run(
            "pg_dump", url, "--format=custom", "--no-owner", "--no-privileges", f"--file={partial}"
        )
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.rename(file)
    finally:
        partial.unlink(missing_ok=True)
    say(f"{file} holds the database: {file.stat().st_size} bytes")
    return 0


def _load(url: str, file: Path) -> int:
    with _connected(url) as connection:
        found = connection.execute("SELECT to_regclass('public.account') IS NOT NULL").fetchone()
    if found is not None and found[0]:
        raise SettingError("The database is not empty; a backup is restored into an empty one.")
    options = ("--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction")
    database = conninfo_to_dict(url).get("dbname", "")
    _run("pg_restore", url, *options, f"--dbname={database}", str(file))
    migrate(url)
    with _connected(url) as connection:
        # Without statistics the first minutes would be slow.
        connection.execute("ANALYZE")
    say(f"the database is as it was in {file}")
    return 0


def _connected(url: str) -> psycopg.Connection[tuple[object, ...]]:
    try:
        return psycopg.connect(url, autocommit=True)
    except psycopg.Error as error:
        raise SettingError(f"The database cannot be used: {str(error).strip()}") from error


def _run(program: str, url: str, *options: str) -> None:
    with _connected(url) as connection:
        version = connection.info.server_version // 10000
    given = conninfo_to_dict(url)
    variables = {VARIABLES[name]: str(v) for name, v in given.items() if name in VARIABLES}
    done = subprocess.run(
        [str(find_client(program, version)), *options],
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise SettingError(f"{program} failed: {done.stderr.strip()}")
