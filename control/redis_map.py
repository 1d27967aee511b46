"""The map in Redis: which node a class is on, how busy nodes are, and throttling buckets.

Nothing here is the truth, and everything works without it: each method answers "unknown" when Redis
is away, and asks again only after a pause, so that an outage costs no request its time. Keys carry
their class or node in a hash tag; there is no global key.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Coroutine
from typing import Any
from uuid import UUID

import redis.asyncio as redis
from redis.exceptions import RedisError

log = logging.getLogger(__name__)

ORIGIN_TTL_S = 5
LOAD_TTL_S = 10
TIMEOUT_S = 0.25
PAUSE_S = 2.0
CONNECTIONS_MAX = 32


class RedisMap:
    """Remembers and forgets; never raises for an absent Redis."""

    def __init__(self, url: str) -> None:
        pool: Any = redis.BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS_MAX,
            timeout=TIMEOUT_S,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            decode_responses=True,
        )
        self._redis: Any = redis.Redis(connection_pool=pool)
        self._away_until = 0.0

    async def close(self) -> None:
        await self._redis.aclose()

    async def origin(self, class_id: UUID) -> UUID | None:
        """Return the node that was last known to carry the class."""
        found = await self._ask("GET", f"{{class:{class_id}}}:origin")
        try:
            return UUID(found) if isinstance(found, str) else None
        except ValueError:
            return None

    async def remember_origin(self, class_id: UUID, node_id: UUID) -> None:
        await self._ask("SET", f"{{class:{class_id}}}:origin", str(node_id), "EX", ORIGIN_TTL_S)

    async def forget_origin(self, class_id: UUID) -> None:
        await self._ask("DEL", f"{{class:{class_id}}}:origin")

    async def remember_load(self, node_id: UUID, busyness: float) -> None:
        await self._ask("SET", f"{{node:{node_id}}}:load", repr(busyness), "EX", LOAD_TTL_S)

    async def loads(self, nodes: list[UUID]) -> list[float | None]:
        """Return the busyness of nodes as of their last beats, None where it is not known."""
        # One by one: their keys may be on different shards.
        found = [await self._ask("GET", f"{{node:{node}}}:load") for node in nodes]
        return [_number(value) for value in found]

    async def count(self, bucket: str, window_s: int) -> int | None:
        """Add one to a bucket that empties after `window_s`; returns its level, None: unknown."""
        key = f"{{throttle:{bucket}}}"
        # Together, or a bucket that expires between the two would come back and stay for good.
        both = self._redis.pipeline(transaction=True)
        both.set(key, 0, ex=window_s, nx=True).incr(key)
        answers = await self._try(both.execute())
        level = answers[1] if answers is not None else None
        return level if isinstance(level, int) else None

    async def level(self, bucket: str) -> int | None:
        """Return a bucket's level, None: unknown."""
        if time.monotonic() < self._away_until:
            return None
        found = await self._ask("GET", f"{{throttle:{bucket}}}")
        number = _number(found)
        return int(number) if number is not None else (None if self._is_away() else 0)

    async def clear(self, bucket: str) -> None:
        await self._ask("DEL", f"{{throttle:{bucket}}}")

    def _is_away(self) -> bool:
        return time.monotonic() < self._away_until

    async def _ask(self, *command: str | int) -> Any:
        return await self._try(self._redis.execute_command(*command))

    async def _try(self, asking: Coroutine[Any, Any, Any]) -> Any:
        """Return what Redis answers, None where it is away or was a moment ago."""
        if self._is_away():
            asking.close()
            return None
        try:
            return await asking
        except (RedisError, OSError, TimeoutError) as error:
            self._away_until = time.monotonic() + PAUSE_S
            log.warning("Redis is away, going on without it for %.0f s: %s", PAUSE_S, error)
            return None


def _number(value: Any) -> float | None:
    try:
        return float(value) if isinstance(value, str) else None
    except ValueError:
        return None
