"""WHIP (RFC 9725): a teacher's client offers, the class's node answers."""

from __future__ import annotations

from aiohttp import web

from control import Control
from signaling.allowance import Allowance
from signaling.body import OFFER_TYPE, read_sdp
from signaling.offer import read_offer
from signaling.opening import Opening
from signaling.paths import path_id
from signaling.resume import resumed


class Whip:
    """The endpoint of each class; its session resources are `signaling.resource`."""

    def __init__(self, control: Control, opening: Opening, allowance: Allowance | None) -> None:
        self._control = control
        self._opening = opening
        self._allowance = allowance

    async def post(self, request: web.Request) -> web.Response:
        """Publish into a class that is one's own; a second session replaces the first.

        With `?resume=` only the one it continues: a page that comes back late takes the class from
        no other.
        """
        account = await self._control.account_of(request)
        if self._allowance is not None:
            self._allowance.take(account.account_id)
        class_id = path_id(request, "class_id", "class")
        read = read_offer(await read_sdp(request, OFFER_TYPE), "publisher")
        resume_of = await resumed(self._control, account, request)
        admission = await self._control.admit_host(account, class_id, resume_of=resume_of)
        return await self._opening.open(admission, read)
