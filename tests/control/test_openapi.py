"""The API's own description covers the API."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient

from control.openapi import STATUSES

UNDESCRIBED = {"/api/openapi.json"}


async def test_every_route_of_the_api_is_described(
    client: TestClient[web.Request, web.Application],
) -> None:
    async with client.get("/api/openapi.json") as response:
        document = await response.json()
    assert document["openapi"] == "3.1.0"
    described = {
        (method.upper(), path) for path, item in document["paths"].items() for method in item
    }
    app = client.app
    assert app is not None
    routed = {
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None and route.resource.canonical.startswith("/api/")
    }
    heads = {("HEAD", path) for method, path in routed if method == "GET"}
    assert {r for r in routed if r[1] not in UNDESCRIBED} - heads == described - heads
    names = [op["operationId"] for item in document["paths"].values() for op in item.values()]
    assert len(set(names)) == len(names)


async def test_every_reference_leads_somewhere(
    client: TestClient[web.Request, web.Application],
) -> None:
    async with client.get("/api/openapi.json") as response:
        document = await response.json()
    found = list(references(document))
    assert found
    for reference in found:
        assert reference.rsplit("/", 1)[1] in document["components"]["schemas"]
    assert all(status >= 400 for statuses in STATUSES.values() for status in statuses)


def references(value: Any) -> Any:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)
