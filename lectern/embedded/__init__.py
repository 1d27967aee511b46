"""PostgreSQL and Redis for one machine: on unix sockets, in the data directory, with no TCP port."""

from __future__ import annotations

from lectern.embedded.places import EmbeddedError, Places
from lectern.embedded.postgres import Postgres
from lectern.embedded.redis import Redis

__all__ = ["EmbeddedError", "Places", "Postgres", "Redis"]
