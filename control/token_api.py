"""The operations of the API on what signs an account in: tokens of programs, and its sessions."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from aiohttp import web

from control import answers
from control.account_api import NAME, AccountApi
from control.accounts import Accounts
from control.answers import answer
from control.fields import Body
from control.ids import parse_uuid
from control.operations import Operation
from control.problem import Problem
from control.sessions import Sessions


class TokenApi:
    """Handlers."""

    def __init__(self, accounts: Accounts, sessions: Sessions, who: AccountApi) -> None:
        self._accounts = accounts
        self._sessions = sessions
        self._who = who

    def operations(self) -> list[Operation]:
        return [
            Operation("POST", "/api/tokens", "createToken", "Make a token for a program.",
                      self.create_token, "NewToken", 201, Body({"name": NAME}, {})),
            Operation("GET", "/api/tokens", "listTokens", "List own tokens, newest first.",
                      self.list_tokens, "TokenPage", paged=True),
            Operation("DELETE", "/api/tokens/{id}", "deleteToken", "Revoke a token.",
                      self.delete_token, None, 204, None, ("not_found",)),
            Operation("GET", "/api/sessions", "listSessions", "List where one is signed in.",
                      self.list_sessions, "SessionPage", paged=True),
            Operation("DELETE", "/api/sessions", "deleteOtherSessions",
                      "Sign out everywhere else.", self.delete_other_sessions, None, 204),
            Operation("DELETE", "/api/sessions/{id}", "deleteSession", "Sign out in one place.",
                      self.delete_session, None, 204, None, ("not_found",)),
        ]  # fmt: skip

    async def create_token(
        self, request: web.Request, fields: dict[str, Any]
    ) -> web.StreamResponse:
        account = await self._who.account_of(request)
        made = await self._accounts.add_api_token(account.account_id, fields["name"])
        shown = {
            "id": str(made.token_id),
            "name": made.name,
            "created_at": answers.timestamp(made.created_at),
            "used_at": None,
            "token": made.token,
        }
        return answer(shown, 201)

    async def list_tokens(self, request: web.Request, fields: dict[str, Any]) -> web.StreamResponse:
        account = await self._who.account_of(request)
        before, limit = answers.page_of(request)
        found = await self._accounts.api_tokens(account.account_id, before, limit + 1)
        return answer(answers.page(found, limit, "token_id", answers.api_token))

    async def delete_token(
        self, request: web.Request, fields: dict[str, Any]
    ) -> web.StreamResponse:
        account = await self._who.account_of(request)
        token_id = _id_of(request, "You have no such token.")
        await self._accounts.remove_api_token(account.account_id, token_id)
        return web.Response(status=204)

    async def list_sessions(
        self, request: web.Request, fields: dict[str, Any]
    ) -> web.StreamResponse:
        account = await self._who.account_of(request)
        before, limit = answers.page_of(request)
        found = await self._sessions.list(
            account.account_id, before, limit + 1, current=self._who.session_of(request)
        )
        return answer(answers.page(found, limit, "token_id", answers.session))

    async def delete_other_sessions(
        self, request: web.Request, fields: dict[str, Any]
    ) -> web.StreamResponse:
        account = await self._who.account_of(request)
        await self._sessions.revoke_others(
            account.account_id, current=self._who.session_of(request)
        )
        return web.Response(status=204)

    async def delete_session(
        self, request: web.Request, fields: dict[str, Any]
    ) -> web.StreamResponse:
        account = await self._who.account_of(request)
        token_id = _id_of(request, "You are signed in nowhere by that name.")
        await self._sessions.revoke(account.account_id, token_id)
        return web.Response(status=204)


def _id_of(request: web.Request, otherwise: str) -> UUID:
    token_id = parse_uuid(request.match_info["id"])
    if token_id is None:
        raise Problem(404, "not_found", otherwise)
    return token_id
