"""The pool of connections to PostgreSQL, queries by name, and what its errors mean."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, TypeVar

import asyncpg

from control.problem import Problem
from control.queries import QUERIES

log = logging.getLogger(__name__)

T = TypeVar("T")

POOL_CONNECTIONS_MIN = 2
POOL_CONNECTIONS_MAX = 16
ACQUIRE_TIMEOUT_S = 3.0
# Longer than any of our statements, the end of a class of a million included, should ever take.
COMMAND_TIMEOUT_S = 30.0
RETRIES_MAX = 4
RETRY_DELAY_S = 0.02

SETTINGS = {
    "application_name": "lectern",
    "timezone": "UTC",
    # Statistics of a young database lie about tables that fill within minutes, and a plan made while
    # `seat` was empty reads the whole of it later. Every statement of ours probes indexes, so the
    # planner is held to that, and plans are made once.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
    "idle_in_transaction_session_timeout": "60000",
}

Connection: TypeAlias = (
    "asyncpg.pool.PoolConnectionProxy[asyncpg.Record] | asyncpg.Connection[asyncpg.Record]"
)

# The database is not there, or not now: nothing is wrong with the request.
AWAY = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.CannotConnectNowError,
    asyncpg.InsufficientResourcesError,  # too many connections, a full disk
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.QueryCanceledError,
)
# Two transactions met; the same one will do again. (Rows are locked in one order everywhere, so
# deadlocks should not happen; a foreign key's own lock is the one exception known.)
COLLISION = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)


class Database:
    """Runs named queries; close it when done."""

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record], url: str) -> None:
        self.pool = pool
        self.url = url

    @classmethod
    async def open(cls, url: str) -> Database:
        """Connect; raises what asyncpg does where the database cannot be reached."""
        pool = await asyncpg.create_pool(
            url,
            min_size=POOL_CONNECTIONS_MIN,
            max_size=POOL_CONNECTIONS_MAX,
            command_timeout=COMMAND_TIMEOUT_S,
            server_settings=SETTINGS,
            # Nothing of ours changes a session's state, so there is nothing to reset.
            reset=_nothing,
        )
        return cls(pool, url)

    async def close(self) -> None:
        """Close every connection, by force where one is stuck."""
        try:
            await asyncio.wait_for(self.pool.close(), ACQUIRE_TIMEOUT_S)
        except TimeoutError:
            log.warning("connections to the database did not close in time and were cut")
            self.pool.terminate()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Give a connection within a transaction: committed at the end, rolled back on error."""
        async with self.pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            async with connection.transaction():
                yield connection

    async def rows(self, query: str, *values: Any) -> list[asyncpg.Record]:
        async with self.pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            return await rows(connection, query, *values)

    async def row(self, query: str, *values: Any) -> asyncpg.Record | None:
        async with self.pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            return await row(connection, query, *values)

    async def value(self, query: str, *values: Any) -> Any:
        found = await self.row(query, *values)
        return None if found is None else found[0]

    async def retried(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Do `work` in a transaction, anew where it collided with another; at most RETRIES_MAX times."""
        for attempt in range(RETRIES_MAX):
            try:
                async with self.transaction() as connection:
                    return await work(connection)
            except COLLISION as error:
                log.info("transaction collided with another: %s", error)
                await asyncio.sleep(RETRY_DELAY_S * (attempt + random.random()))
        raise try_again()


async def rows(connection: Connection, query: str, *values: Any) -> list[asyncpg.Record]:
    """Run the named query and return its rows."""
    return await connection.fetch(QUERIES[query], *values)


async def row(connection: Connection, query: str, *values: Any) -> asyncpg.Record | None:
    """Run the named query and return its first row."""
    return await connection.fetchrow(QUERIES[query], *values)


async def run(connection: Connection, query: str, *values: Any) -> None:
    """Run the named query for its effect."""
    await connection.execute(QUERIES[query], *values)


def try_again() -> Problem:
    """The answer while the database is away or too busy."""
    return Problem(503, "try_again", "The service is busy; try again in a moment.", retry_after_s=1)


async def _nothing(connection: Any) -> None:
    return None
