"""Parts of the tests of control: a Control on a real database, its HTTP face, people and nodes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import psycopg
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from control import Control
from lectern.embedded import Postgres
from tests.control.people import CLUSTER_SECRET, School


@pytest.fixture(scope="session")
def shared_database(postgres_server: Postgres, migrated_template: str) -> str:
    """One database for all tests here: emptying tables is quicker than copying a template."""
    with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE control TEMPLATE {migrated_template}")
    return postgres_server.url("control")


@pytest.fixture
def database_url(shared_database: str) -> str:
    with psycopg.connect(shared_database, autocommit=True) as connection:
        connection.execute("TRUNCATE account, node, node_notice CASCADE")
    return shared_database


@pytest.fixture
async def plane(database_url: str, redis_url: str) -> AsyncIterator[Control]:
    """A Control as `web` runs it."""
    opened = await Control.open(
        database_url=database_url, redis_url=redis_url, cluster_secret=CLUSTER_SECRET
    )
    yield opened
    await opened.close()


@pytest.fixture
async def client(plane: Control) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    """The origin's and the internal listener's HTTP face, on one port."""
    app = web.Application()
    plane.add_routes(app)
    plane.add_internal_routes(app)
    async with TestClient(TestServer(app)) as opened:
        yield opened


@pytest.fixture
async def sql(database_url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection of the test's own."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
def school(plane: Control, sql: asyncpg.Connection[asyncpg.Record]) -> School:
    """People and classes without HTTP."""
    return School(plane, sql)
