"""The operations of the API on accounts, and who is signed in."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from aiohttp import hdrs, web

from control import answers
from control.accounts import Accounts
from control.answers import answer
from control.fields import Body, Choice, Email, Password, Text
from control.http import COOKIE, SECURE_COOKIE
from control.model import Account
from control.operations import Operation
from control.problem import Problem
from control.sessions import SESSION_ABSOLUTE_S, Sessions, client_of

NAME = Text(longest=100)
ROLE = Choice(("teacher", "student"))
# What is typed at sign-in is compared, not judged: an old password may be shorter than today's rule.
TYPED_PASSWORD = Password(shortest=1, longest=1024)

BEARER = "Bearer "
_ACCOUNT = web.RequestKey("account", Account)


class AccountApi:
    """Handlers; `account_of` is how every other one learns who asks."""

    def __init__(self, accounts: Accounts, sessions: Sessions, *, secure_cookies: bool) -> None:
        self._accounts = accounts
        self._sessions = sessions
        self._cookie = SECURE_COOKIE if secure_cookies else COOKIE
        self._secure = secure_cookies

    @property
    def cookie(self) -> str:
        """The name of the session's cookie."""
        return self._cookie

    def operations(self) -> list[Operation]:
        up = Body({"email": Email(), "name": NAME, "password": Password(), "role": ROLE}, {})
        sign_in = Body({"email": Email(), "password": TYPED_PASSWORD}, {})
        change = Body(
            {},
            {
                "name": NAME,
                "role": ROLE,
                "password": Password(),
                "current_password": TYPED_PASSWORD,
            },
        )
        return [
            Operation("POST", "/api/accounts", "signUp", "Make an account and sign in.",
                      self.sign_up, "User", 201, up,
                      ("email_taken", "password_common", "rate_limited"), signed_in=False),
            Operation("POST", "/api/session", "signIn", "Sign in.", self.sign_in, "User", 200,
                      sign_in, ("wrong_credentials", "rate_limited"), signed_in=False),
            Operation("GET", "/api/session", "session", "Show who is signed in, if anybody is.",
                      self.session, "SignedIn", signed_in=False),
            Operation("DELETE", "/api/session", "signOut", "Sign out here.", self.sign_out, None,
                      204, None, signed_in=False),
            Operation("GET", "/api/me", "me", "Show who is signed in.", self.me, "User"),
            Operation("PATCH", "/api/me", "changeMe", "Change name, role or password; a new "
                      "password needs the current one.", self.change, "User", 200, change,
                      ("role_busy", "rate_limited", "wrong_password", "password_common")),
            Operation("DELETE", "/api/me", "deleteMe", "Delete the account; attendance is kept "
                      "without the name.", self.delete, None, 204, None, ("role_busy",)),
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
        elif token := self.session_of(request):
            account = await self._sessions.holder(token)
        if account is None:
            raise Problem(401, "not_signed_in", "Sign in first.")
        request[_ACCOUNT] = account
        return account

    def session_of(self, request: web.Request) -> str | None:
        """Return the session token of the request's cookie, valid or not."""
        return request.cookies.get(self._cookie) or None

    async def sign_up(self, request: web.Request, fields: dict[str, Any]) -> web.StreamResponse:
        account_id, token = await self._accounts.sign_up(**fields, **_whence(request))
        return await self._signed_in(request, account_id, token, 201)

    async def sign_in(self, request: web.Request, fields: dict[str, Any]) -> web.StreamResponse:
        account_id, token = await self._accounts.sign_in(**fields, **_whence(request))
        return await self._signed_in(request, account_id, token, 200)

    async def _signed_in(
        self, request: web.Request, account_id: UUID, token: str, status: int
    ) -> web.Response:
        if (earlier := self.session_of(request)) is not None:
            await self._sessions.end(earlier)  # the browser is about to forget it
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

    async def session(self, request: web.Request, fields: dict[str, Any]) -> web.StreamResponse:
        """Answer 200 either way: a page may ask without a browser writing an error down."""
        try:
            account = await self.account_of(request)
        except Problem as problem:
            if problem.code != "not_signed_in":
                raise
            return answer({"user": None})
        return answer({"user": answers.user(await self._accounts.me(account.account_id))})

    async def sign_out(self, request: web.Request, fields: dict[str, Any]) -> web.StreamResponse:
        if (token := self.session_of(request)) is not None:
            await self._sessions.end(token)
        return self._without_cookie()

    def _without_cookie(self) -> web.Response:
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
            current_password=fields.get("current_password"),
            token=self.session_of(request),
        )
        return answer(answers.user(await self._accounts.me(account.account_id)))

    async def delete(self, request: web.Request, fields: dict[str, Any]) -> web.StreamResponse:
        account = await self.account_of(request)
        await self._accounts.delete(account.account_id)
        return self._without_cookie()


def _whence(request: web.Request) -> dict[str, str]:
    client = client_of(request.headers.get(hdrs.USER_AGENT, ""))
    return {"address": request.remote or "", "client": client}
