"""People: signing up and in, tokens, and changes of an account."""

from __future__ import annotations

import logging
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from control.database import Connection, Database, row, rows, run, try_again
from control.ids import uuid7
from control.model import Account
from control.password_rule import PasswordRule
from control.passwords import Passwords
from control.problem import Problem
from control.sessions import USE_WRITTEN_EVERY_S, Sessions
from control.throttle import Throttle
from control.tokens import digest, new_token

log = logging.getLogger(__name__)

API_TOKENS_MAX = 100  # per account
PASSWORD = "password"  # the issuer of identities that a password proves


@dataclass(frozen=True, slots=True)
class ApiToken:
    token_id: UUID
    name: str
    token: str
    created_at: datetime


class Accounts:
    """What can be done with accounts; Problems as in the contract."""

    def __init__(
        self,
        database: Database,
        sessions: Sessions,
        passwords: Passwords,
        rule: PasswordRule,
        throttle: Throttle,
    ) -> None:
        self._database = database
        self._sessions = sessions
        self._passwords = passwords
        self._rule = rule
        self._throttle = throttle

    async def sign_up(
        self, *, email: str, name: str, password: str, role: str, address: str, client: str
    ) -> tuple[UUID, str]:
        """Make an account; returns its id and a session token. Problems email_taken, password_common."""
        self._rule.check(password, email=email, name=name)
        await self._throttle.check_sign_up(address)
        hashed = await self._passwords.hash(password)
        account_id = uuid7()
        async with self._database.transaction() as connection:
            await run(connection, "account.create", account_id, name, role, False)
            identity = (PASSWORD, subject_of(email), account_id, email, hashed)
            if await row(connection, "account.add_identity", *identity) is None:
                raise Problem(409, "email_taken", "There is an account with this address already.")
            token = await self._sessions.begin(connection, account_id, client)
        log.info("account %s was made", account_id)
        return account_id, token

    async def sign_in(
        self, *, email: str, password: str, address: str, client: str
    ) -> tuple[UUID, str]:
        """Return the account and a new session token; wrong_credentials tells nobody which part."""
        subject = subject_of(email)
        await self._throttle.try_sign_in(subject, address)
        found = await self._database.row("account.by_identity", PASSWORD, subject)
        encoded: str | None = found["password_hash"] if found is not None else None
        right = await self._passwords.verify(encoded, password)
        if encoded is None or not right:
            log.info("a sign-in to account %s failed", found["account_id"] if found else "(none)")
            await self._throttle.failed_sign_in(address)
            raise Problem(401, "wrong_credentials", "The address or the password is wrong.")
        await self._throttle.signed_in(subject, address)
        if self._passwords.is_outdated(encoded):
            better = await self._passwords.hash(password)
            await self._database.rows("account.rehash", subject, encoded, better)
            encoded = better
        made = await self._sessions.sign_in(subject, encoded, client)
        if made is None:
            raise try_again()  # changed since it was verified
        log.info("account %s signed in", made[0])
        return made

    async def by_api_token(self, token: str) -> Account | None:
        hashed = digest(token)
        found = await self._database.row("account.by_api_token", hashed, USE_WRITTEN_EVERY_S)
        if found is not None and found["use_is_due"]:
            await self._database.rows("account.touch_api_token", hashed)
        return _account(found)

    async def me(self, account_id: UUID) -> Any:
        """Return the row of `account.me`."""
        found = await self._database.row("account.me", account_id)
        if found is None:
            raise Problem(401, "not_signed_in", "Sign in first.")
        return found

    async def change(
        self, account_id: UUID, *, name: str | None, role: str | None, password: str | None,
        current_password: str | None, token: str | None,
    ) -> None:  # fmt: skip
        """Change what is given; role_busy while seated. A new password takes the current one, and signs
        out everywhere else; wrong_password, password_common."""
        hashes = None
        if password is not None:
            hashes = await self._new_password(account_id, password, current_password)
        async with self._database.transaction() as connection:
            held = await row(connection, "account.lock", account_id)
            if held is None:
                raise Problem(401, "not_signed_in", "Sign in first.")
            if role is not None and role != held["role"]:
                await _refuse_while_seated(connection, account_id)
            await run(connection, "account.change", account_id, name, role)
            if hashes is not None:
                # Whoever set another one since the current one was verified has the last word.
                if await row(connection, "account.replace_password", account_id, *hashes) is None:
                    raise try_again()
                keep = digest(token) if token is not None else None
                await run(connection, "account.remove_sessions", account_id, keep)
                await run(connection, "account.remove_api_tokens", account_id)
        if hashes is not None:
            log.info("account %s has a new password", account_id)

    async def _new_password(
        self, account_id: UUID, password: str, current: str | None
    ) -> tuple[str, str]:
        """Return the hash of the current password and that of the new one, both judged."""
        if current is None:
            raise Problem(
                422, "invalid_request", "The field 'current_password' is missing.",
                extra={"field": "current_password"},
            )  # fmt: skip
        # Before either is judged: who sits down at a browser that is signed in may not guess without end.
        await self._throttle.check_password_change(account_id)
        known = await self._database.row("account.password", account_id)
        encoded: str | None = known["password_hash"] if known is not None else None
        right = await self._passwords.verify(encoded, current)
        if known is None or encoded is None or not right:
            log.info("account %s: a wrong current password", account_id)
            raise Problem(403, "wrong_password", "The current password is wrong.")
        self._rule.check(password, email=known["email"], name=known["name"])
        return encoded, await self._passwords.hash(password)

    async def delete(self, account_id: UUID) -> None:
        """Forget the person; attendance stays under "Deleted user". Problem role_busy while seated."""
        async with self._database.transaction() as connection:
            if await row(connection, "account.lock", account_id) is None:
                return
            await _refuse_while_seated(connection, account_id)
            await erase(connection, account_id)

    async def add_api_token(self, account_id: UUID, name: str) -> ApiToken:
        token, token_id = new_token(), uuid7()
        created_at = await self._database.value(
            "account.add_api_token", digest(token), token_id, account_id, name, API_TOKENS_MAX
        )
        if created_at is None:
            raise Problem(
                422, "invalid_request", f"An account has at most {API_TOKENS_MAX} tokens."
            )
        return ApiToken(token_id, name, token, created_at)

    async def api_tokens(self, account_id: UUID, before: UUID | None, limit: int) -> list[Any]:
        return await self._database.rows("account.api_tokens", account_id, before, limit)

    async def remove_api_token(self, account_id: UUID, token_id: UUID) -> None:
        if await self._database.value("account.remove_api_token", account_id, token_id) is None:
            raise Problem(404, "not_found", "You have no such token.")


def subject_of(email: str) -> str:
    """Return the form in which addresses are compared."""
    return unicodedata.normalize("NFKC", email).strip().casefold()


async def erase(connection: Connection, account_id: UUID) -> None:
    """Take the person out of an account that is locked and holds no seat."""
    for query in ("account.remove_identities", "account.remove_api_tokens", "account.forget"):
        await run(connection, query, account_id)
    await run(connection, "account.remove_sessions", account_id, None)


async def _refuse_while_seated(connection: Connection, account_id: UUID) -> None:
    if await rows(connection, "account.seated", account_id):
        raise Problem(409, "role_busy", "You are in a live class; leave or end it first.")


def _account(found: Any) -> Account | None:
    if found is None:
        return None
    return Account(found["account_id"], found["name"], found["role"], found["is_operator"])
