"""`web` closes connections that bring no request, and keeps those that did."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from lectern.patience import CLOSED, Patience


class Connection:
    """What `Patience` sees of a connection."""

    closed = False

    def force_close(self) -> None:
        self.closed = True


def count(why: str) -> float:
    value: float = CLOSED.labels(why)._value.get()
    return value


def test_a_slow_head_is_waited_for_so_long_and_no_longer() -> None:
    patience, connections = Patience(head_s_max=10), [Connection(), Connection()]
    spoken: Any = connections[0]
    patience._spoken.add(spoken)
    before = count("slow")
    shown: Any = connections
    for now_s in (100.0, 105.0, 109.9):
        patience.look(shown, now_s)
        assert not any(one.closed for one in connections)
    patience.look(shown, 110.0)
    assert [one.closed for one in connections] == [False, True]
    assert count("slow") == before + 1
    patience.look([], 111.0)
    assert not patience._spoken and not patience._since_s


def test_where_there_are_too_many_the_oldest_without_a_request_go() -> None:
    patience = Patience(connections_max=3)
    connections: Any = [Connection() for _ in range(3)]
    patience.look(connections, 1.0)
    patience._spoken.add(connections[0])
    connections += [Connection() for _ in range(2)]
    patience.look(connections, 2.0)
    assert [one.closed for one in connections] == [False, True, True, False, False]


async def test_where_all_have_brought_a_request_new_ones_are_told_to_come_again() -> None:
    patience = Patience(connections_max=1)
    app = web.Application(middlewares=[patience.middleware])
    app.router.add_get("/", well)
    async with TestClient(TestServer(app)) as first, TestClient(TestServer(app)) as second:
        for _ in range(2):
            assert (await first.get("/")).status == 200
        one: Any = next(iter(patience._spoken))
        two: Any = Connection()
        patience._spoken.add(two)
        patience.look([one, two], 1.0)
        assert not two.closed
        refused = await second.get("/")
        assert (refused.status, refused.headers["Retry-After"]) == (503, "5")
        assert refused.headers["Connection"] == "close"
        assert (await first.get("/")).status == 200
        patience.look([one], 2.0)
        assert (await second.get("/")).status == 200


async def well(request: web.Request) -> web.Response:
    return web.Response()
