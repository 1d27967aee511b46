"""Behind a reverse proxy the client's address is the one that the proxy saw, and nobody's own word."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from control.http import behind_proxies

TRUSTED = tuple(ipaddress.ip_network(n) for n in ("127.0.0.0/8", "10.1.0.0/16", "2001:db8::/64"))


@pytest.mark.parametrize(
    ("trusted", "headers", "seen"),
    [
        (TRUSTED, {}, ("127.0.0.1", "http")),
        (TRUSTED, {"X-Forwarded-For": "192.0.2.1"}, ("192.0.2.1", "http")),
        (TRUSTED, {"X-Forwarded-For": "6.6.6.6, 192.0.2.1"}, ("192.0.2.1", "http")),
        (TRUSTED, {"X-Forwarded-For": "192.0.2.1, 10.1.2.3"}, ("192.0.2.1", "http")),
        (TRUSTED, {"X-Forwarded-For": "2001:db8:1::9,2001:db8::1"}, ("2001:db8:1::9", "http")),
        (TRUSTED, {"X-Forwarded-For": "nonsense"}, ("127.0.0.1", "http")),
        (TRUSTED, {"X-Forwarded-For": "x, 192.0.2.1, "}, ("127.0.0.1", "http")),
        (TRUSTED, {"X-Forwarded-For": ",".join(["10.1.0.1"] * 500)}, ("10.1.0.1", "http")),
        (TRUSTED, {"X-Forwarded-Proto": "HTTPS"}, ("127.0.0.1", "https")),
        (TRUSTED, {"X-Forwarded-Proto": "gopher"}, ("127.0.0.1", "http")),
        (TRUSTED[1:], {"X-Forwarded-For": "192.0.2.1"}, ("127.0.0.1", "http")),
    ],
)
async def test_who_is_asking(trusted: Any, headers: dict[str, str], seen: tuple[str, str]) -> None:
    async def who(request: web.Request) -> web.Response:
        return web.json_response([request.remote, request.scheme, (await request.read()).decode()])

    app = web.Application(middlewares=[behind_proxies(trusted)])
    app.router.add_post("/", who)
    async with TestClient(TestServer(app)) as client:
        async with client.post("/", headers=headers, data="body") as response:
            assert await response.json() == [*seen, "body"]
