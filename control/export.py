"""Everything that is kept of a person, for that person: one JSON document, written as it is read."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from aiohttp import hdrs, web

from control import answers
from control.account_api import AccountApi
from control.accounts import Accounts
from control.answers import PAGE_ITEMS_MAX, timestamp
from control.attendance import attended_pages
from control.class_api import ClassApi
from control.database import Database
from control.http import streamed
from control.operations import Operation
from control.sessions import Sessions


class ExportApi:
    """The one operation; bounded in memory by a page, however much there is."""

    def __init__(
        self,
        database: Database,
        accounts: Accounts,
        sessions: Sessions,
        classes: ClassApi,
        who: AccountApi,
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._sessions = sessions
        self._classes = classes
        self._who = who

    def operations(self) -> list[Operation]:
        return [
            Operation("GET", "/api/me/export", "exportMe", "Everything that is kept of oneself.",
                      self.export, "Export"),
        ]  # fmt: skip

    async def export(self, request: web.Request, fields: dict[str, Any]) -> web.StreamResponse:
        account = await self._who.account_of(request)
        response = web.StreamResponse(
            headers={
                hdrs.CONTENT_TYPE: "application/json",
                hdrs.CONTENT_DISPOSITION: 'attachment; filename="lectern-export.json"',
            }
        )
        return await streamed(request, response, self._document(request, account.account_id))

    async def _document(self, request: web.Request, account_id: UUID) -> AsyncIterator[bytes]:
        me = await self._accounts.me(account_id)
        head = {
            "exported_at": timestamp(datetime.now(UTC)),
            "account": answers.user(me) | {"created_at": timestamp(me["created_at"])},
        }
        yield json.dumps(head).removesuffix("}").encode()
        for name, items in (
            ("sessions", self._session_items(account_id)),
            ("tokens", self._token_items(account_id)),
            ("classes", self._class_items(request, account_id)),
            ("attended", attended_pages(self._database, account_id)),
        ):
            yield f', "{name}": ['.encode()
            between = b""
            async for page in items:
                for item in page:
                    yield between + json.dumps(item).encode()
                    between = b", "
            yield b"]"
        yield b"}\n"

    async def _session_items(self, account_id: UUID) -> AsyncIterator[list[Any]]:
        # All of them fit a page: their number is bounded.
        found = await self._sessions.list(account_id, None, PAGE_ITEMS_MAX, current=None)
        yield [answers.session(row) for row in found]

    async def _token_items(self, account_id: UUID) -> AsyncIterator[list[Any]]:
        found = await self._accounts.api_tokens(account_id, None, PAGE_ITEMS_MAX)
        yield [answers.api_token(row) for row in found]

    async def _class_items(
        self, request: web.Request, account_id: UUID
    ) -> AsyncIterator[list[Any]]:
        before: UUID | None = None
        while True:
            found = await self._database.rows("class.own", account_id, before, PAGE_ITEMS_MAX)
            if not found:
                return
            yield [self._classes.shown(request, row) for row in found]
            before = found[-1]["class_id"]
