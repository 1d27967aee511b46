"""A web process's placement alone: `python placer.py DATABASE REDIS` places each class that it is told.

Lines on standard input are class ids; each is answered by the node that carries the class.
"""

from __future__ import annotations

import asyncio
import sys
from uuid import UUID

from control.database import Database
from control.placement import Placement
from control.redis_map import RedisMap


async def main(database_url: str, redis_url: str) -> None:
    database = await Database.open(database_url)
    placement = Placement(database, RedisMap(redis_url))
    await placement.living()
    print("ready", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        class_ids = [UUID(word) for word in line.split()]
        placed = await asyncio.gather(*(placement.place(c, frozenset()) for c in class_ids))
        print(" ".join(f"{node.node_id}:{node.epoch}" for node in placed), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
