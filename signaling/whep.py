"""WHEP (draft-ietf-wish-whep): a student's client offers to receive, the class's node answers."""

from __future__ import annotations

import hmac
from uuid import UUID

from aiohttp import web

from control import Account, Control, Problem
from signaling.body import OFFER_TYPE, read_sdp
from signaling.offer import read_offer
from signaling.opening import Opening
from signaling.paths import path_id
from wire.session import resume_secret_of

UNKNOWN = "There is no such session to continue."


class Whep:
    """The endpoints of a class's link and of the class itself, for those who hold a seat."""

    def __init__(self, control: Control, opening: Opening) -> None:
        self._control = control
        self._opening = opening

    async def post_link(self, request: web.Request) -> web.Response:
        """Join by the link; `?takeover=1` leaves another class, `?resume=` continues a session."""
        return await self._join(request, link_token=request.match_info["token"], class_id=None)

    async def post_class(self, request: web.Request) -> web.Response:
        """Come back to a seat that one holds."""
        class_id = path_id(request, "class_id", "class")
        return await self._join(request, link_token=None, class_id=class_id)

    async def _join(
        self, request: web.Request, *, link_token: str | None, class_id: UUID | None
    ) -> web.Response:
        account = await self._control.account_of(request)
        read = read_offer(await read_sdp(request, OFFER_TYPE), "viewer")
        resume_of = None
        if "resume" in request.query:
            resume_of = await self._resumed(account, request.query["resume"])
        admission = await self._control.admit(
            account,
            link_token=link_token,
            class_id=class_id,
            takeover=request.query.get("takeover") == "1",
            resume_of=resume_of,
        )
        return await self._opening.open(admission, read)

    async def _resumed(self, account: Account, resume: str) -> UUID:
        """Return the session that `resume` continues; Problem not_found for a wrong secret.

        A session that is not open any more has no node to know its secret: control holds it against
        the account's seat, and says `replaced` to a tab whose place another one has taken.
        """
        text, _, secret = resume.partition(".")
        try:
            session_id = UUID(text)
        except ValueError as error:
            raise Problem(404, "not_found", UNKNOWN) from error
        try:
            _, node = await self._control.session_of(account, session_id)
        except Problem as problem:
            if problem.code != "not_found":
                raise
            return session_id
        if node is not None and not hmac.compare_digest(
            resume_secret_of(node.secret, str(session_id)).encode(), secret.encode()
        ):
            raise Problem(404, "not_found", UNKNOWN)
        return session_id
