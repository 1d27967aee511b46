"""A small client of the public API, as the demo's teacher uses it."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp

REQUEST_TIMEOUT_S = 15.0
NAME = "Demo teacher"


class DemoError(Exception):
    """The demo cannot go on; the text is a sentence for the person who started it."""


class ClassOver(DemoError):
    """The class has ended, by somebody else's hand."""


@dataclass(frozen=True, slots=True)
class Published:
    """An answered WHIP offer."""

    answer: str
    resource: str  # path of the session, to DELETE


class Teacher:
    """A signed-in demo teacher on one server; its password is kept in the data directory."""

    def __init__(self, server: str, data: Path) -> None:
        self._server = server
        self._kept = data / "demo-accounts.json"
        # Cookies of an IP address are cookies as well.
        self._http = aiohttp.ClientSession(
            cookie_jar=aiohttp.CookieJar(unsafe=True),
            headers={"Origin": server},
            timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S),
        )

    async def __aenter__(self) -> Teacher:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._http.close()

    async def sign_in(self) -> None:
        """Sign in with the kept account of this server, or sign up where there is none any more."""
        accounts = self._read_accounts()
        known = accounts.get(self._server)
        if known is not None:
            status, _ = await self._call("POST", "/api/session", known)
            if status == 200:
                return
        made = {
            "email": f"demo-{secrets.token_hex(4)}@lectern.example",
            "password": secrets.token_urlsafe(18),
        }
        status, body = await self._call(
            "POST", "/api/accounts", {**made, "name": NAME, "role": "teacher"}
        )
        if status != 201:
            raise DemoError(
                f"{self._server} makes no account for the demo: {_reason(status, body)}"
            )
        self._write_accounts({**accounts, self._server: made})

    async def open_class(self, title: str, capacity: int) -> dict[str, Any]:
        """Make and start a class, after ending one that an earlier demo left live."""
        _, me = await self._ask("GET", "/api/me", (200,))
        left = me.get("active_class")
        if left is not None:
            await self.end_class(left["id"] if isinstance(left, dict) else left)
        _, made = await self._ask(
            "POST", "/api/classes", (201,), {"title": title, "capacity": capacity}
        )
        _, started = await self._ask("POST", f"/api/classes/{made['id']}/start", (200,))
        return started

    async def end_class(self, class_id: str) -> None:
        await self._ask("POST", f"/api/classes/{class_id}/end", (200, 404, 409, 410))

    async def present(self, class_id: str) -> int | None:
        """Return how many people are in the class now, None when the server does not say."""
        status, body = await self._call("GET", f"/api/classes/{class_id}")
        return int(body["present"]) if status == 200 and "present" in body else None

    async def publish(self, class_id: str, offer: str) -> Published:
        """Post a WHIP offer (RFC 9725 section 4.2); DemoError with the server's reason."""
        try:
            async with self._http.post(
                f"{self._server}/live/classes/{class_id}/whip",
                data=offer,
                headers={"Content-Type": "application/sdp"},
            ) as answer:
                text = await answer.text()
                if answer.status in (404, 410):
                    raise ClassOver(_reason(answer.status, _json(text)))
                if answer.status != 201:
                    raise DemoError(f"the offer was refused: {_reason(answer.status, _json(text))}")
                return Published(text, answer.headers["Location"])
        except (aiohttp.ClientError, TimeoutError) as error:
            raise DemoError(f"{self._server} does not answer: {error}") from error

    async def unpublish(self, resource: str) -> None:
        """Delete a session; one that is gone already is as good."""
        url = resource if "://" in resource else self._server + resource
        try:
            async with self._http.delete(url):
                pass
        except (aiohttp.ClientError, TimeoutError):
            pass  # the server ends what it no longer hears

    async def _ask(
        self, method: str, path: str, expected: tuple[int, ...], body: dict[str, Any] | None = None
    ) -> tuple[int, dict[str, Any]]:
        status, answer = await self._call(method, path, body)
        if status not in expected:
            raise DemoError(f"{method} {path} was refused: {_reason(status, answer)}")
        return status, answer

    async def _call(
        self, method: str, path: str, body: dict[str, Any] | None = None
    ) -> tuple[int, dict[str, Any]]:
        try:
            async with self._http.request(method, self._server + path, json=body) as answer:
                return answer.status, _json(await answer.text())
        except (aiohttp.ClientError, TimeoutError) as error:
            raise DemoError(
                f"There is no Lectern at {self._server} ({error}). "
                "Start one with `make run`, or name another with --server URL."
            ) from error

    def _read_accounts(self) -> dict[str, dict[str, str]]:
        try:
            kept = json.loads(self._kept.read_text())
        except (OSError, ValueError):
            return {}
        return kept if isinstance(kept, dict) else {}

    def _write_accounts(self, accounts: dict[str, dict[str, str]]) -> None:
        self._kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = self._kept.with_suffix(".partial")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(accounts, file)
        partial.replace(self._kept)


def _json(text: str) -> dict[str, Any]:
    try:
        body = json.loads(text)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _reason(status: int, body: dict[str, Any]) -> str:
    return str(body.get("detail") or body.get("code") or f"status {status}")
