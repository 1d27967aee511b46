"""What all tests share: one real PostgreSQL and one real Redis for the run, empty for every test."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis
from psycopg import sql

import control
from lectern.embedded import Places, Postgres, Redis

TEMPLATE = "migrated"
# Which PostgreSQL the whole run is on; without it the one that comes with Lectern.
POSTGRES_VERSION = os.environ.get("TEST_POSTGRES_VERSION")
DEBIAN_POSTGRES = "/usr/lib/postgresql/{}/bin/postgres"

_numbers = itertools.count(1)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose tools are not here; under CI that is a failure."""
    missing = _missing_tools(item)
    if not missing:
        return
    text = f"needs {', '.join(missing)}; `make test` as root installs it"
    if os.environ.get("CI") == "true":
        pytest.fail(text, pytrace=False)
    pytest.skip(text)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say which tests stay together when several workers share them (`--dist loadgroup`).

    Browsers are timed, so one worker has them all, one after the other; the rest goes by file, since a
    file's tests share what its fixtures start. Who has named a group of their own stays in it.
    """
    for item in items:
        if item.get_closest_marker("xdist_group") is not None:
            continue
        timed = item.get_closest_marker("untimed") is None
        alone = timed and item.get_closest_marker("browser") is not None
        item.add_marker(pytest.mark.xdist_group("browser" if alone else str(item.path)))


def pytest_collection_finish(session: pytest.Session) -> None:
    """See that the groups are kept: where they are not, two browsers at once disturb what is timed."""
    grouped = getattr(session.config.option, "loadgroup", False)
    if grouped and not all("@" in item.nodeid for item in session.items):
        raise pytest.UsageError(
            "This pytest-xdist does not put the tests of this pytest into groups."
        )


def _missing_tools(item: pytest.Item) -> list[str]:
    wanted = [program for mark in item.iter_markers("browser") for program in mark.args]
    if item.get_closest_marker("browser") is not None and not wanted:
        wanted.append("chromium")
    if item.get_closest_marker("netns") is not None:
        wanted += ["ip", "tc", "nft"]
        if os.geteuid() != 0:
            return ["root"]
    for mark in item.iter_markers("postgres"):
        wanted += [DEBIAN_POSTGRES.format(version) for version in mark.args]
    return [program for program in wanted if shutil.which(program) is None]


@pytest.fixture(scope="session")
def embedded_places() -> Iterator[Places]:
    # Not pytest's own directory: that one is closed to the user that PostgreSQL runs as under root.
    data = Path(tempfile.mkdtemp(prefix="lectern-tests-", dir="/tmp"))
    yield Places.prepare(data)
    shutil.rmtree(data, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server(embedded_places: Places) -> Iterator[Postgres]:
    version = int(POSTGRES_VERSION) if POSTGRES_VERSION else None
    server = Postgres.start(embedded_places, durable=False, version=version)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def redis_server(embedded_places: Places) -> Iterator[Redis]:
    server = Redis.start(embedded_places, durable=False)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def migrated_template(postgres_server: Postgres) -> str:
    """The name of a database with the whole schema and no rows."""
    _administer(postgres_server, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
    _migrate(postgres_server.url(TEMPLATE))
    return TEMPLATE


@pytest.fixture
def database_url(postgres_server: Postgres, migrated_template: str) -> Iterator[str]:
    """The URL of a migrated database of this test's own."""
    name = f"test_{next(_numbers)}"
    create = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
    _administer(
        postgres_server, create.format(sql.Identifier(name), sql.Identifier(migrated_template))
    )
    yield postgres_server.url(name)
    drop = sql.SQL("DROP DATABASE {} WITH (FORCE)")
    _administer(postgres_server, drop.format(sql.Identifier(name)))


@pytest.fixture
def redis_url(redis_server: Redis) -> str:
    """The URL of an empty Redis."""
    url = redis_server.url()
    with redis.Redis.from_url(url) as connection:
        connection.flushall()
    return url


def _administer(server: Postgres, statement: sql.Composed) -> None:
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute(statement)


def _migrate(url: str) -> None:
    migrate = getattr(control, "migrate", None)
    if migrate is None:
        return
    outcome = migrate(url)
    if inspect.isawaitable(outcome):
        asyncio.run(_finish(outcome))


async def _finish(outcome: object) -> None:
    assert inspect.isawaitable(outcome)
    await outcome
