"""Parts of the tests with many nodes: control's own, on another database that is emptied for each test."""

from __future__ import annotations

import psycopg
import pytest

from lectern.embedded import Postgres
from tests.control.conftest import client, database_url, plane, school, sql

__all__ = ["client", "database_url", "plane", "school", "sql"]


@pytest.fixture(scope="session")
def shared_database(postgres_server: Postgres, migrated_template: str) -> str:
    with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE nodes TEMPLATE {migrated_template}")
    return postgres_server.url("nodes")
