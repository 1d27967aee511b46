"""`lectern user`: what operators do with accounts."""

from __future__ import annotations

import argparse
import asyncio
import sys

import asyncpg

from control import Operators, Problem, User
from lectern.database import database_of
from lectern.settings import SettingError, Settings

ACTIONS = {
    "list": "all accounts: address, role, what they are besides, since when, name",
    "reset-password": "set a new password, print it, and sign the account out everywhere",
    "disable": "lock an account out at once; a live class of it ends",
    "enable": "let a disabled account in again",
    "delete": 'forget a person; attendance stays under "Deleted user"',
    "make-operator": "make a person an operator of this deployment, who sees its nodes and classes",
    "unmake-operator": "let a person be an operator no more",
}
FAILED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the action and the address it is for."""
    parser.add_argument(
        "action",
        choices=ACTIONS,
        metavar="ACTION",
        help="; ".join(f"{name}: {text}" for name, text in ACTIONS.items()),
    )
    parser.add_argument("email", nargs="?", metavar="EMAIL", help="of the account; not for list")


def main(settings: Settings, action: str, email: str | None) -> int:
    """Do one thing to one account, or list all; returns the exit code."""
    if (action == "list") != (email is None):
        raise SettingError(
            "lectern user list takes no address."
            if action == "list"
            else f"lectern user {action} needs the e-mail address of the account."
        )
    with database_of(settings) as url:
        try:
            return asyncio.run(_do(url, action, email or ""))
        except Problem as problem:
            print(f"lectern: {problem.detail}", file=sys.stderr)
            return FAILED
        except (OSError, asyncpg.PostgresError) as error:
            raise SettingError(f"The database cannot be reached: {error}") from error


async def _do(url: str, action: str, email: str) -> int:
    operators = await Operators.open(url)
    try:
        if action == "list":
            async for user in operators.users():
                print(_line(user))
        elif action == "reset-password":
            print(await operators.reset_password(email))
        elif action == "disable":
            await operators.disable(email)
        elif action == "enable":
            await operators.enable(email)
        elif action == "delete":
            await operators.delete(email)
        elif action == "make-operator":
            await operators.make_operator(email)
        else:
            await operators.make_no_operator(email)
    finally:
        await operators.close()
    return 0


def _line(user: User) -> str:
    """Return one account, its fields with tabs between them, the name last."""
    marks = [
        word for word, is_so in (("operator", user.is_operator), ("disabled", user.is_disabled))
        if is_so
    ]  # fmt: skip
    since = user.created_at.date().isoformat()
    return "\t".join([user.email or "-", user.role, ",".join(marks) or "-", since, user.name])
