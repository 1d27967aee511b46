"""The map in Redis: which node a class is on, how busy nodes are, and throttling buckets.

Nothing here is the truth, and everything works without it: each method answers "unknown" when Redis
is away, and asks again only after a pause, so that an outage costs no request its time. Keys carry
their class or node in a hash tag; there is no global key, and no command names two keys, so a Redis
Cluster serves as well as one server.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable
from typing import Any
from uuid import UUID

import redis.asyncio as redis
from redis.asyncio.cluster import ClusterNode
from redis.exceptions import RedisError

log = logging.getLogger(__name__)

ORIGIN_TTL_S = 5
LOAD_TTL_S = 10
TIMEOUT_S = 0.25
# Of one question: a cluster's client looks for the shards anew within it.
ANSWER_S = 0.5
PAUSE_S = 2.0
CONNECTIONS_MAX = 32
CLUSTER_SCHEME = "redis+cluster://"
CLUSTER_PORT = 6379

# Together, or a bucket that expires between the two would come back and stay for good.
COUNT = """
redis.call('SET', KEYS[1], 0, 'EX', ARGV[1], 'NX')
return redis.call('INCR', KEYS[1])
"""


class RedisMap:
    """Remembers and forgets; never raises for an absent Redis.

    `url` is redis://... of one server, or redis+cluster://host:port,host:port of some nodes of a
    cluster, which name the others.
    """

    def __init__(self, url: str) -> None:
        self._redis: Any = _cluster(url) if url.startswith(CLUSTER_SCHEME) else _server(url)
        self._complained = False
        self._away_until = 0.0

    async def close(self) -> None:
        await self._redis.aclose()

    async def origin(self, class_id: UUID) -> tuple[UUID, int] | None:
        """Return the node that was last known to carry the class, and the epoch of that."""
        found = await self._ask("GET", f"{{class:{class_id}}}:origin")
        try:
            node, _, epoch = found.partition(" ") if isinstance(found, str) else ("", "", "")
            return UUID(node), int(epoch)
        except ValueError:
            return None

    async def remember_origin(self, class_id: UUID, node_id: UUID, epoch: int) -> None:
        key = f"{{class:{class_id}}}:origin"
        await self._ask("SET", key, f"{node_id} {epoch}", "EX", ORIGIN_TTL_S)

    async def forget_origin(self, class_id: UUID) -> None:
        await self._ask("DEL", f"{{class:{class_id}}}:origin")

    async def remember_load(self, node_id: UUID, busyness: float) -> None:
        await self._ask("SET", f"{{node:{node_id}}}:load", repr(busyness), "EX", LOAD_TTL_S)

    async def loads(self, nodes: list[UUID]) -> list[float | None]:
        """Return the busyness of nodes as of their last beats, None where it is not known."""
        # One by one: their keys may be on different shards.
        asked = (self._ask("GET", f"{{node:{node}}}:load") for node in nodes)
        return [_number(value) for value in await asyncio.gather(*asked)]

    async def count(self, bucket: str, window_s: int) -> int | None:
        """Add one to a bucket that empties after `window_s`; returns its level, None: unknown."""
        level = await self._ask("EVAL", COUNT, 1, f"{{throttle:{bucket}}}", window_s)
        return level if isinstance(level, int) else None

    async def level(self, bucket: str) -> int | None:
        """Return a bucket's level, None: unknown."""
        if self._is_away():
            return None
        found = await self._ask("GET", f"{{throttle:{bucket}}}")
        number = _number(found)
        return int(number) if number is not None else (None if self._is_away() else 0)

    async def clear(self, bucket: str) -> None:
        await self._ask("DEL", f"{{throttle:{bucket}}}")

    def _is_away(self) -> bool:
        return time.monotonic() < self._away_until

    async def _ask(self, *command: str | int) -> Any:
        """Return what Redis answers, None where it is away or was a moment ago."""
        if self._is_away():
            return None
        try:
            answer: Awaitable[Any] = self._redis.execute_command(*command)
            found = await asyncio.wait_for(answer, ANSWER_S)
        except (RedisError, OSError, TimeoutError) as error:
            self._away_until = time.monotonic() + PAUSE_S
            # Once, however many ask at once and however long it stays away.
            if not self._complained:
                self._complained = True
                reason = str(error) or type(error).__name__
                log.warning(
                    "Redis is away, going on without it, trying every %.0f s: %s", PAUSE_S, reason
                )
            return None
        if self._complained:
            self._complained = False
            log.info("Redis answers again")
        return found


def _server(url: str) -> Any:
    pool: Any = redis.BlockingConnectionPool.from_url(
        url,
        max_connections=CONNECTIONS_MAX,
        timeout=TIMEOUT_S,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        decode_responses=True,
    )
    return redis.Redis(connection_pool=pool)


def _cluster(url: str) -> Any:
    """Return a client of a cluster; redis+cluster://[user:password@]host:port,host:port."""
    who, _, where = url.removeprefix(CLUSTER_SCHEME).rstrip("/").rpartition("@")
    user, _, password = who.partition(":")
    nodes = []
    for entry in where.split(","):
        host, _, port = entry.rpartition(":") if ":" in entry else (entry, "", CLUSTER_PORT)
        nodes.append(ClusterNode(host.strip("[]"), int(port)))
    return redis.RedisCluster(
        startup_nodes=nodes,
        username=user or None,
        password=password or None,
        max_connections=CONNECTIONS_MAX,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        decode_responses=True,
        # Slots of a shard that is gone are as unknown as those of a server that is.
        require_full_coverage=False,
    )


def _number(value: Any) -> float | None:
    try:
        return float(value) if isinstance(value, str) else None
    except ValueError:
        return None
