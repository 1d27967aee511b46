"""A teacher and students of a deployment's public API, who are gone when the benchmark is."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from benchmarks.capacity.permission import Permission
from benchmarks.clients.sdp import Answered, read_answer
from benchmarks.registry import BenchmarkError

# A domain that no mail ever reaches (RFC 2606 section 2).
DOMAIN = "lectern-bench.invalid"
REQUEST_TIMEOUT_S = 20.0
BODY_BYTES_MAX = 64 * 1024
# What a server may ask to be waited for, and how often for one request.
RETRY_AFTER_S_MAX = 600.0
TRIES_MAX = 6
DELETIONS_TRIED_MAX = 5
DELETION_RETRY_S = 1.0
SAID_AGAIN_AFTER_S = 30.0
LOCATION = re.compile(r"/live/sessions/[A-Za-z0-9_-]{1,64}/[A-Za-z0-9_-]{1,64}")
LINK = re.compile(r".*/([A-Za-z0-9_-]{1,128})")
ID = re.compile(r"[0-9a-f-]{36}")


class JoinFailed(Exception):
    """The deployment did not take somebody; the text is a sentence without secrets."""


@dataclass(slots=True)
class Account:
    """`cookie` is "" while nobody knows whether the account was made."""

    email: str
    role: str
    password: str = field(repr=False)
    cookie: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Session:
    """One that was opened; `took_s` is the time until its answer."""

    account: Account
    answered: Answered
    location: str = field(repr=False)
    took_s: float


@dataclass(frozen=True, slots=True)
class _Got:
    status: int
    headers: Any
    body: bytes
    took_s: float

    @property
    def code(self) -> str:
        """The stable code of a problem, or the status."""
        with contextlib.suppress(ValueError, TypeError, AttributeError):
            return str(json.loads(self.body)["code"])[:40]
        return str(self.status)

    def value(self, name: str, pattern: re.Pattern[str]) -> str:
        """Return a member of the body that looks as it has to; BenchmarkError."""
        with contextlib.suppress(ValueError, TypeError, KeyError):
            value = json.loads(self.body)[name]
            if isinstance(value, str) and pattern.fullmatch(value):
                return value
        raise BenchmarkError(f"The server's answer has no {name} that can be used.")


class People:
    """All accounts of one run, and the class they are in."""

    def __init__(self, permission: Permission, at_once: int, say: Callable[[str], None]) -> None:
        self._permission = permission
        self._say = say
        self._said_s = 0.0
        self._run = secrets.token_hex(4)
        self._at_once = at_once
        self._accounts: list[Account] = []
        self._class_id = ""
        self._turns = asyncio.Semaphore(at_once)
        self._http: aiohttp.ClientSession | None = None
        self._whep = ""

    @property
    def pattern(self) -> str:
        """What the addresses of all accounts look like."""
        return f"bench-{self._run}-*@{DOMAIN}"

    @property
    def left(self) -> int:
        """How many accounts there may be."""
        return len(self._accounts)

    async def open(self, capacity: int) -> None:
        """Make a teacher with a class that is live; BenchmarkError."""
        # Made here: it belongs to the loop that runs.
        self._http = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S),
            connector=aiohttp.TCPConnector(
                limit=self._at_once, resolver=self._permission.resolver()
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        teacher = await self._sign_up("teacher")
        made = await self._must("POST", "/api/classes", teacher, title="Load", capacity=capacity)
        self._class_id = made.value("id", ID)
        started = await self._must("POST", f"/api/classes/{self._class_id}/start", teacher)
        self._whep = f"/live/links/{started.value('link', LINK).rpartition('/')[2]}/whep"

    async def enrol(self, students: int) -> None:
        """Make accounts until there are so many students; BenchmarkError."""
        missing = students - (len(self._accounts) - 1)
        await asyncio.gather(*(self._sign_up("student") for _ in range(missing)))

    async def teach(self, offer: str) -> Session:
        """Open the teacher's session."""
        return await self._offer(self._accounts[0], f"/live/classes/{self._class_id}/whip", offer)

    async def join(self, first: int, last: int, offer: str) -> list[Session]:
        """Open sessions of these students; JoinFailed. Sessions of the same call may stay open then."""
        accounts = self._accounts[1 + first : 1 + last]
        return await asyncio.gather(*(self._offer(one, self._whep, offer) for one in accounts))

    async def leave(self, sessions: Sequence[Session]) -> None:
        """End sessions, as far as they are there."""
        calls = (self._call("DELETE", one.location, one.account) for one in sessions)
        await asyncio.gather(*calls, return_exceptions=True)

    async def close(self) -> None:
        """End the class and delete all accounts; `left` says how many could not be."""
        ours = asyncio.current_task()
        # What an interrupted call has left.
        others = [task for task in asyncio.all_tasks() if task is not ours]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        if self._class_id:
            with contextlib.suppress(JoinFailed, BenchmarkError):
                await self._call("POST", f"/api/classes/{self._class_id}/end", self._accounts[0])
        await asyncio.gather(*(self._delete(one) for one in list(self._accounts)))
        if self._http is not None:
            await self._http.close()

    async def _sign_up(self, role: str) -> Account:
        name = f"bench-{self._run}-{len(self._accounts)}"
        account = Account(f"{name}@{DOMAIN}", role, secrets.token_urlsafe(18))
        self._accounts.append(account)
        person = {"email": account.email, "name": "Load test", "role": role}
        got = await self._must(
            "POST", "/api/accounts", account, password=account.password, **person
        )
        account.cookie = _cookie(got)
        return account

    async def _delete(self, account: Account) -> None:
        with contextlib.suppress(JoinFailed, BenchmarkError):
            if not account.cookie:
                known = {"email": account.email, "password": account.password}
                got = await self._call("POST", "/api/session", account, known)
                if got.status == 401:  # it was never made
                    self._accounts.remove(account)
                    return
                account.cookie = _cookie(got)
            for _ in range(DELETIONS_TRIED_MAX):
                got = await self._call("DELETE", "/api/me", account)
                if got.status in (204, 401):
                    self._accounts.remove(account)
                    return
                await asyncio.sleep(DELETION_RETRY_S)  # its seat is still being freed

    async def _offer(self, account: Account, path: str, offer: str) -> Session:
        got = await self._call("POST", path, account, offer=offer)
        if got.status != 201:
            raise JoinFailed(f"A {account.role}'s offer was answered {got.status} ({got.code}).")
        location = got.headers.get("Location", "")
        if not LOCATION.fullmatch(location):
            raise BenchmarkError("The server's answer has no Location that can be used.")
        answered = read_answer(got.body.decode(errors="replace"))
        self._permission.check(address for address, _ in answered.places)
        return Session(account, answered, location, got.took_s)

    async def _must(self, method: str, path: str, account: Account, **body: Any) -> _Got:
        try:
            got = await self._call(method, path, account, body)
        except JoinFailed as error:
            raise BenchmarkError(str(error)) from error
        if got.status not in (200, 201):
            raise BenchmarkError(f"{method} {path} was answered {got.status} ({got.code}).")
        return got

    async def _call(
        self,
        method: str,
        path: str,
        account: Account,
        body: dict[str, Any] | None = None,
        *,
        offer: str | None = None,
    ) -> _Got:
        """Ask, and again when the server says; JoinFailed where it is not reached."""
        headers = {"Origin": self._permission.origin}
        if account.cookie:
            headers["Cookie"] = account.cookie
        if offer is not None:
            headers["Content-Type"] = "application/sdp"
        for _ in range(TRIES_MAX):
            try:
                async with self._turns:
                    got = await self._once(method, path, headers, body, offer)
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                raise JoinFailed(f"The server was not reached: {type(error).__name__}.") from error
            wait_s = _wait_s(got)
            if wait_s is None:
                return got
            self._tell_wait(wait_s, got.code)
            await asyncio.sleep(wait_s)
        return got

    async def _once(
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        body: dict[str, Any] | None,
        offer: str | None,
    ) -> _Got:
        assert self._http is not None
        began_s = time.monotonic()
        async with self._http.request(
            method,
            self._permission.origin + path,
            headers=headers,
            json=body or None,
            data=offer,
            allow_redirects=False,
        ) as answer:
            whole = await _body(answer)
            return _Got(answer.status, answer.headers, whole, time.monotonic() - began_s)

    def _tell_wait(self, wait_s: float, code: str) -> None:
        now_s = time.monotonic()
        if now_s - self._said_s >= SAID_AGAIN_AFTER_S:
            self._said_s = now_s
            self._say(f"the server asks to wait {wait_s:g} s ({code})")


def _wait_s(got: _Got) -> float | None:
    """Return what the server wants to be waited for, None where its answer is final."""
    if got.status not in (429, 503) or got.code == "no_capacity":
        return None
    text = got.headers.get("Retry-After", "")
    return min(float(text), RETRY_AFTER_S_MAX) if re.fullmatch(r"\d{1,9}", text) else None


def _cookie(got: _Got) -> str:
    name, _, value = got.headers.get("Set-Cookie", "").partition(";")[0].partition("=")
    if not re.fullmatch(r"[A-Za-z_-]{1,64}", name) or not re.fullmatch(r"[\w.~-]{1,512}", value):
        raise BenchmarkError("The server signed nobody in.")
    return f"{name}={value}"


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for part in answer.content.iter_any():
        body += part
        if len(body) > BODY_BYTES_MAX:
            raise BenchmarkError(f"An answer has more than {BODY_BYTES_MAX} bytes.")
    return bytes(body)
