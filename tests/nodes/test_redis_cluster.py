"""The map on a real Redis Cluster of three servers: every key goes to its own shard, none is global."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest_asyncio
import redis.asyncio as redis

from control.placement import Placement
from control.redis_map import RedisMap
from lectern.embedded.binaries import find_redis
from tests.control.people import School

SLOTS = 16384
SERVERS = 3
BUS_OFFSET = 10_000


@dataclass
class Cluster:
    ports: list[int]
    processes: list[subprocess.Popen[bytes]]

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{port}" for port in self.ports)

    async def keys(self) -> list[list[str]]:
        """Return the keys of each server."""
        found = []
        for port in self.ports:
            async with redis.Redis(port=port, decode_responses=True) as server:
                found.append([str(key) for key in await server.keys("*")])
        return found


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    ports = [_port() for _ in range(SERVERS)]
    processes = []
    for port in ports:
        directory = tmp_path / str(port)
        directory.mkdir()
        options = {"port": port, "cluster-enabled": "yes", "save": "", "bind": "127.0.0.1",
                   "cluster-node-timeout": 1000, "dir": directory}  # fmt: skip
        words = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        processes.append(subprocess.Popen([find_redis(), *words], stdout=subprocess.DEVNULL))
    running = Cluster(ports, processes)
    try:
        async with asyncio.timeout(30):
            await _join(ports)
        yield running
    finally:
        for process in processes:
            process.send_signal(signal.SIGKILL)
            process.wait()


async def _join(ports: list[int]) -> None:
    """Give each server its share of the slots and let them know each other."""
    servers: list[Any] = [redis.Redis(port=port, decode_responses=True) for port in ports]
    for server in servers:
        while True:
            try:
                await server.ping()
                break
            except redis.ConnectionError:
                await asyncio.sleep(0.02)
    for number, server in enumerate(servers):
        first, last = SLOTS * number // SERVERS, SLOTS * (number + 1) // SERVERS - 1
        await server.execute_command("CLUSTER", "ADDSLOTS", *range(first, last + 1))
        await server.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
    for port in ports[1:]:
        await servers[0].execute_command("CLUSTER", "MEET", "127.0.0.1", port)
    for server in servers:
        while "cluster_state:ok" not in await _info(server):
            await asyncio.sleep(0.05)
        await server.aclose()


async def _info(server: Any) -> str:
    answer = await server.execute_command("CLUSTER", "INFO")
    return answer if isinstance(answer, str) else "".join(f"{k}:{v}\n" for k, v in answer.items())


def _port() -> int:
    """Return a port that is free, as is the one that the servers speak to each other on."""
    while True:
        with socket.socket() as probe, socket.socket() as bus:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            try:
                bus.bind(("127.0.0.1", port + BUS_OFFSET))
            except (OSError, OverflowError):
                continue
            return port


async def test_classes_are_placed_over_all_shards(school: School, cluster: Cluster) -> None:
    on_cluster = RedisMap(cluster.url)
    school.plane._beats._map = on_cluster
    nodes = [await school.node() for _ in range(6)]
    for node in nodes:
        await node.beat()
    placement = Placement(school.plane._database, on_cluster)
    classes = [(await school.live_class())[1] for _ in range(30)]
    placed = {class_id: await placement.place(class_id, frozenset()) for class_id in classes}
    for class_id, address in placed.items():
        assert await on_cluster.origin(class_id) == (address.node_id, address.epoch)
        assert (await placement.place(class_id, frozenset())).node_id == address.node_id
    assert [load is not None for load in await on_cluster.loads([n.node_id for n in nodes])] == [
        True
    ] * 6
    assert [await on_cluster.count("somebody", 60) for _ in range(3)] == [1, 2, 3]
    assert await on_cluster.level("somebody") == 3
    keys = await cluster.keys()
    assert all(keys), "a shard has nothing"
    assert len([key for some in keys for key in some]) == 6 + 30 + 1
    assert all(key.startswith("{") and "}" in key for some in keys for key in some)
    await placement.close()
    await on_cluster.close()


async def test_a_shard_that_dies_only_costs_speed(school: School, cluster: Cluster) -> None:
    on_cluster = RedisMap(cluster.url)
    await school.node()
    placement = Placement(school.plane._database, on_cluster)
    classes = [(await school.live_class())[1] for _ in range(12)]
    before = [(await placement.place(class_id, frozenset())).node_id for class_id in classes]
    cluster.processes[0].kill()
    cluster.processes[0].wait()
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert [(await placement.place(c, frozenset())).node_id for c in classes] == before
    assert loop.time() - began < 3.0
    assert await on_cluster.origin(uuid4()) is None
    await placement.close()
    await on_cluster.close()
