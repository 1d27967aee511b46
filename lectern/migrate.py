"""Bring the database's schema up to date."""

from __future__ import annotations

import psycopg

import control
from lectern.data_lock import lock
from lectern.embedded import Places, Postgres
from lectern.settings import SettingError, Settings


def main(settings: Settings) -> int:
    """Migrate the database that is named, or the embedded one of the data directory."""
    if settings.database_url is not None:
        migrate(settings.database_url)
        return 0
    places = Places.prepare(settings.data)
    with lock(places.data):
        server = Postgres.start(places)
        try:
            migrate(server.url())
        finally:
            server.stop()
    return 0


def migrate(database_url: str) -> None:
    """Apply the migrations that the database lacks; SettingError where it cannot be used."""
    try:
        control.migrate(database_url)
    except psycopg.Error as error:
        # What psycopg says names the host but never the password.
        raise SettingError(f"The database cannot be used: {str(error).strip()}") from error
