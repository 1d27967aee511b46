"""The fixtures that all tests stand on give every test a database and a Redis of its own."""

from __future__ import annotations

import psycopg
import pytest
import redis


@pytest.mark.parametrize("turn", [1, 2])
def test_nothing_of_an_earlier_test_is_left(database_url: str, redis_url: str, turn: int) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE TABLE left_behind (turn int)")
    with redis.Redis.from_url(redis_url) as map_:
        assert map_.get("left_behind") is None
        map_.set("left_behind", turn)
