"""Where an account is signed in: sessions behind a cookie, each an opaque token of which only the
hash is kept. A session ends when it is too old, too long unused, or revoked."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from control.database import Connection, Database, row, run
from control.ids import uuid7
from control.model import Account
from control.problem import Problem
from control.tokens import digest, new_token

SESSION_ABSOLUTE_S = 90 * 24 * 3600.0
SESSION_IDLE_S = 30 * 24 * 3600.0
# A read must not cost a write: an idle limit of days needs no finer a clock than this.
USE_WRITTEN_EVERY_S = 3600.0
SESSIONS_MAX = 100  # per account; one more ends the one that was not used for longest


class Sessions:
    """Makes, finds, lists and ends sessions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, connection: Connection, account_id: UUID, client: str) -> str:
        """Sign a new account in, in the transaction that makes it; returns the token."""
        token = new_token()
        await run(
            connection, "account.add_session", digest(token), uuid7(), account_id, client,
            SESSION_ABSOLUTE_S,
        )  # fmt: skip
        return token

    async def sign_in(self, subject: str, encoded: str, client: str) -> tuple[UUID, str] | None:
        """Return (account id, token), None where `encoded` is not the password's hash any more."""
        token = new_token()
        async with self._database.transaction() as connection:
            made = await row(
                connection, "account.sign_in", digest(token), uuid7(), client, SESSION_ABSOLUTE_S,
                subject, encoded,
            )  # fmt: skip
            if made is None:
                return None
            await run(connection, "account.trim_sessions", made["account_id"], SESSIONS_MAX)
        return made["account_id"], token

    async def holder(self, token: str) -> Account | None:
        """Return who holds the token, None where it is unknown, too old or unused too long."""
        hashed = digest(token)
        found = await self._database.row(
            "account.by_session", hashed, SESSION_IDLE_S, USE_WRITTEN_EVERY_S
        )
        if found is None:
            return None
        if found["use_is_due"]:
            await self._database.rows("account.touch_session", hashed)
        return Account(found["account_id"], found["name"], found["role"], found["is_operator"])

    async def end(self, token: str) -> None:
        """Sign out where this token is held; an unknown one is signed out already."""
        await self._database.rows("account.remove_session", digest(token))

    async def list(
        self, account_id: UUID, before: UUID | None, limit: int, *, current: str | None
    ) -> list[Any]:
        """Return rows of `account.sessions`, newest first; `current` is the token that asks."""
        hashed = digest(current) if current is not None else None
        return await self._database.rows(
            "account.sessions", account_id, before, limit, hashed, SESSION_IDLE_S
        )

    async def revoke(self, account_id: UUID, token_id: UUID) -> None:
        """Sign an account out in one place; Problem not_found."""
        if await self._database.value("account.revoke_session", account_id, token_id) is None:
            raise Problem(404, "not_found", "You are signed in nowhere by that name.")

    async def revoke_others(self, account_id: UUID, *, current: str | None) -> None:
        """Sign an account out everywhere but where `current` is held."""
        hashed = digest(current) if current is not None else None
        await self._database.rows("account.remove_sessions", account_id, hashed)


# The first that a User-Agent holds counts: most name their ancestors as well.
_BROWSERS = (
    ("Edg", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("FxiOS/", "Firefox"),
    ("Chromium/", "Chromium"), ("Chrome/", "Chrome"), ("CriOS/", "Chrome"), ("Safari/", "Safari"),
    ("OBS", "OBS"), ("curl/", "curl"),
)  # fmt: skip
_SYSTEMS = (
    ("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("Windows", "Windows"),
    ("Macintosh", "macOS"), ("CrOS", "ChromeOS"), ("Linux", "Linux"),
)  # fmt: skip


def client_of(user_agent: str) -> str:
    """Return the kind of client in a few words, empty where it is not known.

    Nothing finer is kept: it is to be recognised by its owner, not by us.
    """
    browser = next((name for mark, name in _BROWSERS if mark in user_agent), "")
    system = next((name for mark, name in _SYSTEMS if mark in user_agent), "")
    return f"{browser} on {system}" if browser and system else browser or system
