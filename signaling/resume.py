"""Which session an offer continues: `?resume=`, common to WHIP and WHEP."""

from __future__ import annotations

import hmac
from uuid import UUID

from aiohttp import web

from control import Account, Control, Problem
from wire.session import resume_secret_of

UNKNOWN = "There is no such session to continue."


async def resumed(control: Control, account: Account, request: web.Request) -> UUID | None:
    """Return the session that `?resume=` continues, None without; Problem not_found for a wrong secret.

    A session that is not open any more has no node to know its secret: control holds it against
    the account's seat, and says `replaced` to a page whose place another one has taken.
    """
    resume = request.query.get("resume")
    if resume is None:
        return None
    text, _, secret = resume.partition(".")
    try:
        session_id = UUID(text)
    except ValueError as error:
        raise Problem(404, "not_found", UNKNOWN) from error
    try:
        _, node = await control.session_of(account, session_id)
    except Problem as problem:
        if problem.code != "not_found":
            raise
        return session_id
    if node is not None and not hmac.compare_digest(
        resume_secret_of(node.secret, str(session_id)).encode(), secret.encode()
    ):
        raise Problem(404, "not_found", UNKNOWN)
    return session_id
