"""The API as a table: each operation's method, path, body, answer and codes; routes and OpenAPI
come from it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from aiohttp import web

from control.fields import Body
from control.http import read_body
from control.model import Account

AccountOf: TypeAlias = Callable[[web.Request], Awaitable[Account]]
Handle: TypeAlias = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation. `answer` names a schema of `control.schemas`, None: an empty answer."""

    method: str
    path: str
    name: str
    purpose: str
    handle: Handle
    answer: str | None
    status: int = 200
    body: Body | None = None
    codes: tuple[str, ...] = ()
    signed_in: bool = True
    paged: bool = False
    media_type: str = "application/json"
    # Parameters of the query, which must be there, with their schemas.
    query: dict[str, dict[str, Any]] = field(default_factory=dict)
    # Request headers with their schemas.
    headers: dict[str, dict[str, Any]] = field(default_factory=dict)


def add(app: web.Application, operations: list[Operation], account_of: AccountOf) -> None:
    """Add a route for every operation; who asks is known, and the body checked, before its handler."""
    for operation in operations:
        app.router.add_route(operation.method, operation.path, _handler(operation, account_of))


def _handler(
    operation: Operation, account_of: AccountOf
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        if operation.signed_in:
            await account_of(request)  # a stranger hears that first, whatever was sent
        fields: dict[str, Any] = {}
        if operation.body is not None:
            fields = operation.body.check(await read_body(request))
        return await operation.handle(request, fields)

    return handle
