"""A web process with signaling alone, one node, and a client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from signaling import Signaling
from tests.signaling.fake_control import FakeControl, FakeNode, fake_node, problems

OFFERS = Path(__file__).parent / "offers"


@dataclass
class Site:
    client: TestClient[Any, Any]
    control: FakeControl
    node: FakeNode
    directory: Path


@pytest_asyncio.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    control = FakeControl()
    app = web.Application(middlewares=[problems])
    async with fake_node(f"{tmp_path}/node") as node, Signaling(control) as signaling:
        control.nodes.append(node.address)
        signaling.add_routes(app)
        async with TestClient(TestServer(app)) as client:
            yield Site(client, control, node, tmp_path)
