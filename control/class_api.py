"""The operations of the API on classes and links."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from aiohttp import web

from control import answers
from control.account_api import AccountApi
from control.answers import answer
from control.classes import Classes
from control.database import Database
from control.fields import Body, Integer, Text
from control.ids import parse_uuid
from control.operations import Operation
from control.problem import Problem
from control.throttle import Throttle

TITLE = Text(longest=200)
CAPACITY = Integer(1, 1_000_000)
IDEMPOTENCY_KEY = "Idempotency-Key"
IDEMPOTENCY_KEY_LENGTH_MAX = 128
KEY_SCHEMA = {
    "type": "string", "minLength": 1, "maxLength": IDEMPOTENCY_KEY_LENGTH_MAX,
    "description": "The same key with the same body again answers with the class it made.",
}  # fmt: skip
LINK_LENGTH_MAX = 64


class ClassApi:
    """Handlers."""

    def __init__(
        self,
        database: Database,
        classes: Classes,
        accounts: AccountApi,
        throttle: Throttle,
        public_url: str | None,
    ) -> None:
        self._database = database
        self._classes = classes
        self._accounts = accounts
        self._throttle = throttle
        self._public_url = public_url.rstrip("/") if public_url else None

    def operations(self) -> list[Operation]:
        create = Body({"title": TITLE, "capacity": CAPACITY}, {})
        change = Body({}, {"title": TITLE, "capacity": CAPACITY})
        owned = ("not_found", "not_owner")
        one = "/api/classes/{id}"
        return [
            Operation("POST", "/api/classes", "createClass", "Create a class.", self.create,
                      "Class", 201, create, ("not_teacher", "rate_limited"),
                      headers={IDEMPOTENCY_KEY: KEY_SCHEMA}),
            Operation("GET", "/api/classes", "listClasses", "List own classes, newest first.",
                      self.own, "ClassPage", paged=True),
            Operation("GET", one, "getClass", "Show an own class.", self.show, "Class",
                      codes=owned),
            Operation("PATCH", one, "changeClass", "Change title or capacity before the end.",
                      self.change, "Class", 200, change,
                      (*owned, "class_ended", "capacity_below_used")),
            Operation("POST", one + "/start", "startClass", "Let the class begin.", self.start,
                      "Class", codes=(*owned, "active_elsewhere", "class_ended")),
            Operation("POST", one + "/end", "endClass", "End the class for everybody in it.",
                      self.end, "Class", codes=(*owned, "class_not_live")),
            Operation("POST", one + "/reopen", "reopenClass",
                      "Let the class go on, within 15 minutes of its end.", self.reopen, "Class",
                      codes=(*owned, "active_elsewhere", "class_not_live", "class_ended")),
            Operation("POST", one + "/link", "rotateLink", "Replace the link; the old one is dead.",
                      self.rotate_link, "Class", codes=owned),
            Operation("GET", "/api/links/{token}", "getLink", "Show the class of a link.",
                      self.link, "Link", codes=("link_invalid",), signed_in=False),
        ]  # fmt: skip

    async def create(self, request: web.Request, fields: dict[str, Any]) -> web.StreamResponse:
        account = await self._accounts.account_of(request)
        key = request.headers.get(IDEMPOTENCY_KEY)
        if key is not None and not (
            0 < len(key) <= IDEMPOTENCY_KEY_LENGTH_MAX and key.isprintable()
        ):
            raise Problem(
                422, "invalid_request",
                f"An Idempotency-Key has 1 to {IDEMPOTENCY_KEY_LENGTH_MAX} printable characters.",
            )  # fmt: skip
        await self._throttle.check_new_class(account.account_id)
        made = await self._classes.create(account, **fields, key=key)
        return self._class(request, made, 201)

    async def own(self, request: web.Request, fields: dict[str, Any]) -> web.StreamResponse:
        account = await self._accounts.account_of(request)
        before, limit = answers.page_of(request)
        found = await self._classes.own(account, before, limit + 1)
        return answer(answers.page(found, limit, "class_id", lambda row: self.shown(request, row)))

    async def show(self, request: web.Request, fields: dict[str, Any]) -> web.StreamResponse:
        account = await self._accounts.account_of(request)
        return self._class(request, await self._classes.show(account, class_id_of(request)))

    async def change(self, request: web.Request, fields: dict[str, Any]) -> web.StreamResponse:
        account = await self._accounts.account_of(request)
        changed = await self._classes.change(
            account,
            class_id_of(request),
            title=fields.get("title"),
            capacity=fields.get("capacity"),
        )
        return self._class(request, changed)

    async def start(self, request: web.Request, fields: dict[str, Any]) -> web.StreamResponse:
        account = await self._accounts.account_of(request)
        return self._class(request, await self._classes.start(account, class_id_of(request)))

    async def end(self, request: web.Request, fields: dict[str, Any]) -> web.StreamResponse:
        account = await self._accounts.account_of(request)
        return self._class(request, await self._classes.end(account, class_id_of(request)))

    async def reopen(self, request: web.Request, fields: dict[str, Any]) -> web.StreamResponse:
        account = await self._accounts.account_of(request)
        return self._class(request, await self._classes.reopen(account, class_id_of(request)))

    async def rotate_link(self, request: web.Request, fields: dict[str, Any]) -> web.StreamResponse:
        account = await self._accounts.account_of(request)
        return self._class(request, await self._classes.rotate_link(account, class_id_of(request)))

    async def link(self, request: web.Request, fields: dict[str, Any]) -> web.StreamResponse:
        found = await self._database.row("class.by_link", link_of(request))
        if found is None:
            raise link_invalid()
        return answer(answers.link_view(found))

    def _class(self, request: web.Request, row: Any, status: int = 200) -> web.Response:
        return answer(self.shown(request, row), status)

    def shown(self, request: web.Request, row: Any) -> dict[str, Any]:
        """Return a class with its link under the address that people see."""
        base = self._public_url or f"{request.scheme}://{request.host}"
        return answers.class_(row, f"{base}/c/{row['link']}")


def class_id_of(request: web.Request) -> UUID:
    """Return the id in the path; Problem not_found for what cannot be one."""
    class_id = parse_uuid(request.match_info["id"])
    if class_id is None:
        raise Problem(404, "not_found", "There is no such class.")
    return class_id


def link_of(request: web.Request) -> str:
    """Return the token in the path; Problem link_invalid for what cannot be one."""
    token: str = request.match_info["token"]
    if not token.isascii() or len(token) > LINK_LENGTH_MAX or "\0" in token:
        raise link_invalid()
    return token


def link_invalid() -> Problem:
    return Problem(404, "link_invalid", "This link leads to no class.")
