"""WHEP (draft-ietf-wish-whep): a student's client offers to receive, the class's node answers."""

from __future__ import annotations

from uuid import UUID

from aiohttp import web

from control import Control
from signaling.allowance import Allowance
from signaling.body import OFFER_TYPE, read_sdp
from signaling.offer import read_offer
from signaling.opening import Opening
from signaling.paths import path_id
from signaling.resume import resumed


class Whep:
    """The endpoints of a class's link and of the class itself, for those who hold a seat."""

    def __init__(self, control: Control, opening: Opening, allowance: Allowance | None) -> None:
        self._control = control
        self._opening = opening
        self._allowance = allowance

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
        if self._allowance is not None:
            self._allowance.take(account.account_id)
        read = read_offer(await read_sdp(request, OFFER_TYPE), "viewer")
        admission = await self._control.admit(
            account,
            link_token=link_token,
            class_id=class_id,
            takeover=request.query.get("takeover") == "1",
            resume_of=await resumed(self._control, account, request),
        )
        return await self._opening.open(admission, read)
