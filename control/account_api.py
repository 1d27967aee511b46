"""The operations of the API on accounts, sessions and tokens."""

from __future__ import annotations

from typing import Any

from aiohttp import hdrs, web

from control import answers
from control.accounts import SESSION_ABSOLUTE_S, Accounts
from control.answers import answer
from control.fields import Body, Choice, Email, Password, Text
from control.http import COOKIE, SECURE_COOKIE
from control.ids import parse_uuid
from control.model import Account
from control.operations import Operation
from control.problem import Problem

NAME = Text(longest=100)
ROLE = Choice(("teacher", "student"))
# What is typed at sign-in is compared, not judged: an old password may be shorter than today's rule.
TYPED_PASSWORD = Password(shortest=1, longest=1024)

BEARER = "Bearer "
_ACCOUNT = web.RequestKey("account", Account)


class AccountApi:
    """Handlers; `account_of` is how every other one learns who asks."""

    def __init__(self, accounts: Accounts, *, secure_cookies: bool) -> None:
        self._accounts = accounts
        self._cookie = SECURE_COOKIE if secure_cookies else COOKIE
        self._secure = secure_cookies

    def operations(self) -> list[Operation]:
        up = Body({"email": Email(), "name": NAME, "password": Password(), "role": ROLE}, {})
        sign_in = Body({"email": Email(), "password": TYPED_PASSWORD}, {})
        change = Body({}, {"name": NAME, "role": ROLE, "password": Password()})
        limited = ("invalid_request", "too_large", "rate_limited", "try_again", "bad_origin")
        return [
            Operation("POST", "/api/accounts", "signUp", "Make an account and sign in.",
                      self.sign_up, "User", 201, up, ("email_taken", *limited), signed_in=False),
            Operation("POST", "/api/session", "signIn", "Sign in.", self.sign_in, "User", 200,
                      sign_in, ("wrong_credentials", *limited), signed_in=False),
            Operation("DELETE", "/api/session", "signOut", "Sign out here.", self.sign_out, None,
                      204, None, ("bad_origin",), signed_in=False),
            Operation("GET", "/api/me", "me", "Show who is signed in.", self.me, "User"),
            Operation("PATCH", "/api/me", "changeMe", "Change name, role or password.",
                      self.change, "User", 200, change, ("role_busy", *limited)),
            Operation("DELETE", "/api/me", "deleteMe", "Delete the account; attendance is kept "
                      "without the name.", self.delete, None, 204, None,
                      ("role_busy", "bad_origin")),
            Operation("POST", "/api/tokens", "createToken", "Make a token for a program.",
                      self.create_token, "NewToken", 201, Body({"name": NAME}, {}), limited),
            Operation("GET", "/api/tokens", "listTokens", "List own tokens, newest first.",
                      self.list_tokens, "TokenPage", codes=("invalid_request",), paged=True),
            Operation("DELETE", "/api/tokens/{id}", "deleteToken", "Revoke a token.",
                      self.delete_token, None, 204, None, ("not_found", "bad_origin")),
        ]  # fmt: skip

    async def account_of(self, request: web.Request) -> Account:
        """Return who is signed in by bearer token or cookie; Problem not_signed_in."""
        known: Account | None = request.get(_ACCOUNT)
        if known is not None:
            return known
        account: Account | None = None
        header = request.headers.get(hdrs.AUTHORIZATION)
        if header is not None:
            if header[: len(BEARER)].lower() == BEARER.lower():
                account = await self._accounts.by_api_token(header[len(BEARER) :].strip())
        elif token := request.cookies.get(self._cookie):
            account = await self._accounts.by_session(token)
        if account is None:
            raise Problem(401, "not_signed_in", "Sign in first.")
        request[_ACCOUNT] = account
        return account

    async def sign_up(self, request: web.Request, fields: dict[str, Any]) -> web.StreamResponse:
        address = request.remote or ""
        account_id, token = await self._accounts.sign_up(**fields, address=address)
        return await self._signed_in(account_id, token, 201)

    async def sign_in(self, request: web.Request, fields: dict[str, Any]) -> web.StreamResponse:
        address = request.remote or ""
        account_id, token = await self._accounts.sign_in(**fields, address=address)
        return await self._signed_in(account_id, token, 200)

    async def _signed_in(self, account_id: Any, token: str, status: int) -> web.Response:
        response = answer(answers.user(await self._accounts.me(account_id)), status)
        response.set_cookie(
            self._cookie,
            token,
            max_age=int(SESSION_ABSOLUTE_S),
            httponly=True,
            samesite="Lax",
            secure=self._secure,
            path="/",
        )
        return response

    async def sign_out(self, request: web.Request, fields: dict[str, Any]) -> web.StreamResponse:
        if token := request.cookies.get(self._cookie):
            await self._accounts.sign_out(token)
        response = web.Response(status=204)
        response.del_cookie(
            self._cookie, path="/", httponly=True, samesite="Lax", secure=self._secure
        )
        return response

    async def me(self, request: web.Request, fields: dict[str, Any]) -> web.StreamResponse:
        account = await self.account_of(request)
        return answer(answers.user(await self._accounts.me(account.account_id)))

    async def change(self, request: web.Request, fields: dict[str, Any]) -> web.StreamResponse:
        account = await self.account_of(request)
        await self._accounts.change(
            account.account_id,
            name=fields.get("name"),
            role=fields.get("role"),
            password=fields.get("password"),
            token=request.cookies.get(self._cookie),
        )
        return answer(answers.user(await self._accounts.me(account.account_id)))

    async def delete(self, request: web.Request, fields: dict[str, Any]) -> web.StreamResponse:
        account = await self.account_of(request)
        await self._accounts.delete(account.account_id)
        response = web.Response(status=204)
        response.del_cookie(
            self._cookie, path="/", httponly=True, samesite="Lax", secure=self._secure
        )
        return response

    async def create_token(
        self, request: web.Request, fields: dict[str, Any]
    ) -> web.StreamResponse:
        account = await self.account_of(request)
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
        account = await self.account_of(request)
        before, limit = answers.page_of(request)
        found = await self._accounts.api_tokens(account.account_id, before, limit + 1)
        return answer(answers.page(found, limit, "token_id", answers.api_token))

    async def delete_token(
        self, request: web.Request, fields: dict[str, Any]
    ) -> web.StreamResponse:
        account = await self.account_of(request)
        token_id = parse_uuid(request.match_info["id"])
        if token_id is None:
            raise Problem(404, "not_found", "You have no such token.")
        await self._accounts.remove_api_token(account.account_id, token_id)
        return web.Response(status=204)
