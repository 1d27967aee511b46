"""Bring a database to the schema of this version, forward only."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
from yoyo import get_backend, read_migrations

log = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).parent / "migrations"

# Any number that nothing else locks; held while one process migrates, so that others wait for it.
MIGRATION_LOCK = 0x4C45_4354_0001

# A table is in use by the version before: migrations give up their place in line and come again.
ATTEMPTS_MAX = 20
ATTEMPT_DELAY_S = 1.0


def migrate(database_url: str) -> None:
    """Apply the migrations that the database lacks; blocking, idempotent, safe to race.

    `database_url` is postgresql://user@host:port/db or postgresql://user@/db?host=/socket/dir.
    Raises psycopg.Error where the database refuses.
    """
    parts = urlsplit(database_url)
    plain = urlunsplit(parts._replace(scheme="postgresql"))
    url = urlunsplit(parts._replace(scheme="postgresql+psycopg"))
    with psycopg.connect(plain, autocommit=True) as guard:
        guard.execute("SELECT pg_advisory_lock(%s)", (MIGRATION_LOCK,))
        for attempt in range(1, ATTEMPTS_MAX + 1):
            try:
                _apply(url)
                return
            except psycopg.errors.LockNotAvailable:
                if attempt == ATTEMPTS_MAX:
                    raise
                log.warning("a migration waits for a table that is in use (attempt %d)", attempt)
                time.sleep(ATTEMPT_DELAY_S)


def _apply(url: str) -> None:
    backend = get_backend(url)
    try:
        # Its own lock is a table row that a killed process leaves behind; ours dies with its
        # connection, and whoever holds ours is alone.
        backend.break_lock()
        with backend.lock():
            backend.apply_migrations(backend.to_apply(read_migrations(str(MIGRATIONS))))
    finally:
        backend.connection.close()
