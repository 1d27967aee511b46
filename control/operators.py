"""What operators do with other people's accounts, from the command line."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from control.accounts import PASSWORD, erase, subject_of
from control.database import Connection, Database, row, rows, run
from control.endings import Ending, end_sessions
from control.passwords import Passwords
from control.problem import Problem

log = logging.getLogger(__name__)

PAGE_ITEMS = 500
NEW_PASSWORD_BYTES = 12  # 96 bits, 16 characters to read out
# One that we made is for its first use: time enough to be handed over, and to choose another one.
NEW_PASSWORD_S = 7 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class User:
    """One line of the list. `email` None: a person who signs in by other means."""

    account_id: UUID
    email: str | None
    name: str
    role: str
    is_operator: bool
    is_disabled: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class NodeLine:
    """One line of the list of nodes; `state` is serving, draining, unreachable or dead."""

    node_id: UUID
    state: str
    sessions: int
    classes: int
    media: str
    registered_at: datetime


class Operators:
    """Finds people by their e-mail address; Problem not_found where there is nobody."""

    def __init__(self, database: Database, passwords: Passwords) -> None:
        self._database = database
        self._passwords = passwords

    @classmethod
    async def open(cls, database_url: str) -> Operators:
        """Connect; `close` it when done. The schema must be migrated."""
        return cls(await Database.open(database_url), Passwords())

    async def close(self) -> None:
        self._passwords.close()
        await self._database.close()

    async def users(self) -> AsyncIterator[User]:
        """Yield every account that is not deleted, oldest first."""
        after: UUID | None = None
        while True:
            found = await self._database.rows("account.users", after, PAGE_ITEMS)
            for known in found:
                yield User(**dict(known))
            if not found:
                return
            after = found[-1]["account_id"]

    async def reset_password(self, email: str) -> str:
        """Set a new random password, good for a week, sign the account out everywhere and return it."""
        account_id = await self._account(email)
        password = secrets.token_urlsafe(NEW_PASSWORD_BYTES)
        hashed = await self._passwords.hash(password)
        async with self._database.transaction() as connection:
            await run(connection, "account.change_password", account_id, hashed, NEW_PASSWORD_S)
            await _sign_out(connection, account_id)
        return password

    async def disable(self, email: str) -> None:
        """Lock an account out at once: no sign-in, no session, no seat; a live class of it ends."""
        account_id = await self._account(email)

        async def work(connection: Connection) -> None:
            await _unseat(connection, account_id)
            await run(connection, "account.set_disabled", account_id, True)
            await _sign_out(connection, account_id)

        await self._database.retried(work)

    async def enable(self, email: str) -> None:
        """Let a disabled account sign in again."""
        account_id = await self._account(email)
        await self._database.rows("account.set_disabled", account_id, False)

    async def delete(self, email: str) -> None:
        """Forget a person, out of a live class too; attendance stays under "Deleted user"."""
        account_id = await self._account(email)

        async def work(connection: Connection) -> None:
            await _unseat(connection, account_id)
            await erase(connection, account_id)

        await self._database.retried(work)

    async def make_operator(self, email: str) -> None:
        """Make a person an operator of this deployment."""
        await self._database.rows("account.set_operator", await self._account(email), True)

    async def make_no_operator(self, email: str) -> None:
        """Let a person be an operator no more, at once."""
        await self._database.rows("account.set_operator", await self._account(email), False)

    async def nodes(self) -> list[NodeLine]:
        """Return every node that lives or has died lately."""
        found = await self._database.rows("node.all")
        return [
            NodeLine(
                node_id=node["node_id"],
                state=node["state"],
                sessions=node["sessions"],
                classes=node["classes"],
                media=" ".join(f"{host}:{port}" for host, port in json.loads(node["addresses"])),
                registered_at=node["registered_at"],
            )
            for node in found
        ]

    async def drain(self, node_id: UUID) -> None:
        """Let a node get no new classes and send away those it has; it hears so in its next beat."""
        if await self._database.value("node.drain", node_id) is None:
            raise Problem(404, "not_found", f"There is no living node {node_id}.")

    async def _account(self, email: str) -> UUID:
        found: UUID | None = await self._database.value(
            "account.by_email", PASSWORD, subject_of(email)
        )
        if found is None:
            raise Problem(404, "not_found", f"There is no account with the address {email}.")
        return found


async def _unseat(connection: Connection, account_id: UUID) -> None:
    """Take an account out of its class and hold it against new seats until the transaction ends.

    The class is locked before the account, as everywhere; who moved meanwhile is looked up anew.
    """
    guess = await row(connection, "seat.of", [account_id])
    classes = [guess["class_id"]] if guess is not None else []
    await rows(connection, "class.lock", classes, 0.0)
    await run(connection, "account.lock", account_id)
    seat: Any = await row(connection, "seat.read", [account_id])
    if seat is None:
        return
    if seat["class_id"] not in classes:
        raise asyncpg.SerializationError("the seat moved to another class meanwhile")
    if seat["is_host"]:
        await rows(connection, "class.end", seat["class_id"])
        log.warning("class %s: live -> ended, an operator locked its teacher out", seat["class_id"])
    else:
        await end_sessions(connection, [Ending(seat["session_id"], "left")])


async def _sign_out(connection: Connection, account_id: UUID) -> None:
    await run(connection, "account.remove_sessions", account_id, None)
    await run(connection, "account.remove_api_tokens", account_id)
