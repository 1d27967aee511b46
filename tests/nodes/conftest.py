"""Parts of the tests with many nodes: control's own, on a database that is emptied for each test."""

from tests.control.conftest import (
    client,
    database_url,
    plane,
    school,
    shared_database,
    sql,
)

__all__ = ["client", "database_url", "plane", "school", "shared_database", "sql"]
