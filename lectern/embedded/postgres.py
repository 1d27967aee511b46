"""An embedded PostgreSQL on a unix socket."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from lectern.embedded import process
from lectern.embedded.binaries import PostgresBinaries, find_postgres
from lectern.embedded.places import EmbeddedError, Places

SUPERUSER = "lectern"
DATABASE = "lectern"
CONNECTIONS_MAX = 200  # several web processes with a pool each, the reaper, and somebody's psql
INITDB_TIMEOUT_S = 120

SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": str(CONNECTIONS_MAX),
    "password_encryption": "scram-sha-256",
    "log_line_prefix": "%m [%p] ",
    "timezone": "UTC",
}
# Crash safety is worth nothing to a database that lives for one test run.
NOT_DURABLE = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}


class Postgres:
    """A running PostgreSQL that belongs to one data directory and to this process."""

    def __init__(self, server: process.ServerProcess, sockets: Path) -> None:
        self._server = server
        self._sockets = sockets

    @classmethod
    def start(cls, places: Places, *, durable: bool = True, version: int | None = None) -> Postgres:
        """Start the database of the data directory, making it first where there is none.

        A new one is made by PostgreSQL `version`, None: the newest wheel's, else any that is here. A
        server that an earlier run left is stopped. `durable=False` turns fsync off and binds the
        server's life to the calling thread: for tests. Raises EmbeddedError.
        """
        data = places.servers / "postgres"
        try:
            process.stop_leftovers(data, signal.SIGINT)
            version_file = data / "PG_VERSION"
            made_by = int(version_file.read_text()) if version_file.exists() else None
            binaries = find_postgres(places, made_by or version)
            if made_by is None:
                _initialise(binaries, data, places, durable=durable)
            # Nothing serves this directory, as was just seen: a lock file can only be stale, and its
            # process id may be somebody else's by now, on which PostgreSQL would refuse to start.
            (data / "postmaster.pid").unlink(missing_ok=True)
            sockets = places.give(places.run / "postgres")
            server = _start(binaries, data, sockets, places, durable=durable)
        except OSError as error:
            raise EmbeddedError(f"PostgreSQL cannot be started: {error}") from error
        server.wait_ready(lambda: _is_ready(data, server.pid))
        postgres = cls(server, sockets)
        postgres._create_database(DATABASE)
        return postgres

    @property
    def pid(self) -> int:
        return self._server.pid

    def url(self, database: str = DATABASE) -> str:
        """Return the URL of one database, as asyncpg and psycopg take it."""
        return _url(self._sockets, database)

    @staticmethod
    def running_url(places: Places) -> str:
        """Return the URL of the data directory's database where another process runs it."""
        return _url(places.run / "postgres", DATABASE)

    def exit_code(self) -> int | None:
        return self._server.exit_code()

    def stop(self) -> None:
        """Stop in PostgreSQL's "fast" way: open transactions are rolled back, a checkpoint is written."""
        self._server.stop(signal.SIGINT)

    def hurry(self) -> None:
        """Let a stop that is under way skip the checkpoint; the next start recovers from the log."""
        self._server.send(signal.SIGQUIT)

    def _create_database(self, name: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            known = connection.execute("SELECT FROM pg_database WHERE datname = %s", [name])
            if known.rowcount == 0:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


def _url(sockets: Path, database: str) -> str:
    return f"postgresql://{SUPERUSER}@/{database}?host={quote(str(sockets), safe='/')}"


def _initialise(binaries: PostgresBinaries, data: Path, places: Places, *, durable: bool) -> None:
    """Make the database's files beside their place, so that an interrupted run leaves nothing there."""
    if data.exists() and any(data.iterdir()):
        raise EmbeddedError(f"{data} holds files that are no database; move them away.")
    partial = data.with_name("postgres.partial")
    shutil.rmtree(partial, ignore_errors=True)
    places.give(partial)
    command = [str(binaries.directory / "initdb"), "-D", str(partial), "-U", SUPERUSER]
    command += ["--encoding=UTF8", "--locale=C", "--data-checksums"]
    # The socket's directory is closed to everybody but its owner (and root), so whoever gets through to
    # the socket may be trusted; there is no other way in.
    command += ["--auth-local=trust", "--auth-host=reject"]
    if not durable:
        command.append("--no-sync")
    user = places.user
    done = subprocess.run(
        command,
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=process.clean_environment(),
        user=None if user is None else user.pw_uid,
        group=None if user is None else user.pw_gid,
        extra_groups=None if user is None else [],
        timeout=INITDB_TIMEOUT_S,
    )
    if done.returncode != 0:
        raise EmbeddedError(f"initdb failed:\n{done.stderr.strip()}")
    partial.rename(data)


def _start(
    binaries: PostgresBinaries, data: Path, sockets: Path, places: Places, *, durable: bool
) -> process.ServerProcess:
    settings = SETTINGS | {"unix_socket_directories": str(sockets)}
    if not durable:
        settings |= NOT_DURABLE
    command = [str(binaries.directory / "postgres"), "-D", str(data)]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    return process.start(
        "PostgreSQL",
        command,
        directory=data,
        log=places.log / "postgres.log",
        user=places.user,
        dies_with_parent=not durable,
    )


def _is_ready(data: Path, pid: int) -> bool:
    """Read the lock file as pg_ctl does: the first line is the process, the eighth its state."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"
