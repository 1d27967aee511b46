"""A real node with its native core, a listening control, and signaling before them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from control import NodeAddress
from sfu._core import Media
from sfu.config import Advertised, NodeConfig
from sfu.node import Node
from signaling import Signaling
from tests.sfu.clients import Client
from tests.sfu.control_server import CLUSTER_SECRET, ControlServer
from tests.signaling.fake_control import CLASS_ID, LINK, FakeControl, problems


@dataclass
class Site:
    """Everything between a client's HTTP request and its media."""

    http: TestClient[Any, Any]
    control: ControlServer
    seats: FakeControl
    node: Node
    media: Media
    directory: Path
    node_task: asyncio.Task[None]
    clients: list[Client] = field(default_factory=list)

    async def teacher(self, **connect: Any) -> Client:
        client = Client.teacher(self.http, f"/live/classes/{CLASS_ID}/whip")
        self.clients.append(client)
        return await client.connect(**connect)

    async def student(self, query: str = "", account: str = "student", **connect: Any) -> Client:
        client = Client.student(self.http, f"/live/links/{LINK}/whep", account)
        self.clients.append(client)
        return await client.connect(query, **connect)

    async def nothing_left(self, limit_s: float = 5.0) -> None:
        """Wait until the node holds nothing of any session."""
        async with asyncio.timeout(limit_s):
            while self.node.sessions or self.node._by_number or self.node._tasks:
                await asyncio.sleep(0.02)
        assert not self.node.rooms and not self.node._rooms_by_number
        assert not len(self.node.ssrcs)


@asynccontextmanager
async def running(node: Node) -> AsyncIterator[asyncio.Task[None]]:
    """Run a node for as long as the block; a task of its own, so that it can be cancelled."""
    task = asyncio.create_task(node.run())
    try:
        await node.ready.wait()
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task], timeout=10)
        if not task.cancelled():
            task.result()


def config_of(directory: Path, control: ControlServer) -> NodeConfig:
    return NodeConfig(
        host="127.0.0.1",
        udp_port=0,
        tcp_port=0,
        advertise=(Advertised("127.0.0.1"),),
        control_url=control.url,
        cluster_secret=CLUSTER_SECRET,
        internal_listen=f"unix:{directory}/node",
        data_dir=directory,
    )


@asynccontextmanager
async def a_site(directory: Path) -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        control = ControlServer(f"{directory}/control")
        await control.start()
        stack.push_async_callback(control.stop)
        media = Media(host="127.0.0.1", port=0, tcp_port=0)
        stack.callback(media.close)
        node = Node(config_of(directory, control), media)
        task = await stack.enter_async_context(running(node))
        await control.until(lambda: bool(control.registered) and node.registered)
        seats = FakeControl()
        address = NodeAddress(UUID(node.node_id), node.url, node.secret)
        seats.nodes.append(address)
        app = web.Application(middlewares=[problems])
        signaling = await stack.enter_async_context(Signaling(seats))
        signaling.add_routes(app)
        http = await stack.enter_async_context(TestClient(TestServer(app)))
        site = Site(http, control, seats, node, media, directory, task)
        try:
            yield site
        finally:
            for client in site.clients:
                await client.close()


@pytest_asyncio.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with a_site(tmp_path) as site:
        yield site


@pytest.fixture
def soon() -> Callable[[Callable[[], bool]], Awaitable[None]]:
    async def wait(what: Callable[[], bool], limit_s: float = 10.0) -> None:
        async with asyncio.timeout(limit_s):
            while not what():
                await asyncio.sleep(0.01)

    return wait
