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
    described = described_in(document)
    app = client.app
    assert app is not None
    assert routed_in(app) == described
    names = [op["operationId"] for item in document["paths"].values() for op in item.values()]
    assert len(set(names)) == len(names)


def described_in(document: Any) -> set[tuple[str, str]]:
    return {
        (method.upper(), path)
        for path, item in document["paths"].items()
        for method in item
        if method != "parameters"
    }


def routed_in(app: web.Application) -> set[tuple[str, str]]:
    """Return the routes that programs may use; HEAD goes without saying."""
    return {
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None
        and route.method != "HEAD"
        and not route.resource.canonical.startswith("/internal/")
        and route.resource.canonical not in UNDESCRIBED
    }


async def test_every_reference_leads_somewhere(
    client: TestClient[web.Request, web.Application],
) -> None:
    async with client.get("/api/openapi.json") as response:
        document = await response.json()
    found = list(references(document))
    assert found
    for reference in found:
        assert reference.rsplit("/", 1)[1] in document["components"]["schemas"]
    titles = {"code", "type", "title", "status", "detail"}
    assert set(document["components"]["schemas"]["Problem"]["required"]) == titles
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
