"""The database that a command of an operator works on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lectern.data_lock import DataInUse, lock
from lectern.embedded import Places, Postgres
from lectern.migrate import migrate
from lectern.settings import Settings


@contextmanager
def database_of(settings: Settings) -> Iterator[str]:
    """Give the URL of the database: the one named, the one that runs, or one started for this."""
    if settings.database_url is not None:
        yield settings.database_url
        return
    places = Places.prepare(settings.data)
    try:
        held = lock(places.data)
    except DataInUse:
        yield Postgres.running_url(places)  # `lectern up` has it, and its database runs
        return
    with held:
        server = Postgres.start(places)
        try:
            migrate(server.url())
            yield server.url()
        finally:
            server.stop()
