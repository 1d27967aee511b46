"""The session resource that a 201's Location names: trickle, ICE restart, leave (RFC 9725)."""

from __future__ import annotations

import logging
from uuid import UUID

from aiohttp import web

from control import Account, Admission, Control, NodeAddress, Problem
from signaling.body import FRAGMENT_TYPE, read_sdp
from signaling.fragment import Fragment, entity_tag, read_fragment, write_fragment
from signaling.health import Health
from signaling.node_client import NodeClient, NodeRefused, NodeUnreachable
from signaling.paths import path_id
from wire.session import CloseSession, PatchSession

log = logging.getLogger(__name__)

RETRY_AFTER_S = 1
GONE = "This session has ended; offer anew."


class SessionResource:
    """One handler for every session; which node serves it stands in the path and in control."""

    def __init__(self, control: Control, nodes: NodeClient, health: Health) -> None:
        self._control = control
        self._nodes = nodes
        self._health = health

    async def patch(self, request: web.Request) -> web.Response:
        """Take candidates (204) or restart ICE (200), told apart by If-Match.

        A tag must match, `*` restarts, none is 428 (RFC 9725 sections 4.3.2 and 4.3.3).
        """
        account = await self._control.account_of(request)
        session_id = path_id(request, "session_id", "session")
        admission, node = await self._held(account, session_id, request)
        fragment = read_fragment(await read_sdp(request, FRAGMENT_TYPE))
        condition = request.headers.get("If-Match")
        if condition is None:
            raise Problem(428, "invalid_request", "Send If-Match with the ETag, or * to restart.")
        tag = entity_tag(str(session_id), fragment.ice_ufrag)
        if condition.strip() == "*":
            return await self._restart(admission, node, fragment, tag)
        if tag not in (part.strip() for part in condition.split(",")):
            raise Problem(412, "invalid_request", "If-Match names another ICE session.")
        # The node is ICE-lite: the path is learnt from the client's checks.
        return web.Response(status=204, headers={"ETag": tag})

    async def delete(self, request: web.Request) -> web.Response:
        """Leave; committed before it is answered, and again and again without harm."""
        account = await self._control.account_of(request)
        session_id = path_id(request, "session_id", "session")
        reason = "pagehide" if request.query.get("reason") == "pagehide" else "left"
        try:
            held = await self._control.session_of(account, session_id)
        except Problem as problem:
            if problem.code != "not_found":
                raise
            held = None  # ended already, or somebody else's: control tells the two apart
        class_id = held[0].class_id if held is not None else None
        await self._control.leave(account, session_id, reason, class_id=class_id)
        if held is not None:
            await self._tell(held[0], held[1], reason)
        return web.Response(status=204)

    async def _held(
        self, account: Account, session_id: UUID, request: web.Request
    ) -> tuple[Admission, NodeAddress]:
        admission, node = await self._control.session_of(account, session_id)
        if node is None or node.node_id != path_id(request, "node_id", "session"):
            raise Problem(404, "not_found", GONE)
        return admission, node

    async def _restart(
        self, admission: Admission, node: NodeAddress, fragment: Fragment, tag: str
    ) -> web.Response:
        # A stopped node would be waited for, while another one could serve already.
        if not await self._health.works(node):
            raise _no_answer()
        message = PatchSession(admission.fence, fragment.ice_ufrag, fragment.ice_pwd)
        try:
            patched = await self._nodes.patch_session(node, str(admission.session_id), message)
        except NodeRefused as error:
            raise Problem(404, "not_found", GONE) from error
        except NodeUnreachable as error:
            log.warning("%s", error)
            raise _no_answer() from error
        return web.Response(
            status=200,
            content_type=FRAGMENT_TYPE,
            text=write_fragment(fragment, patched),
            headers={"ETag": tag},
        )

    async def _tell(self, admission: Admission, node: NodeAddress | None, reason: str) -> None:
        """Tell the node at once what it would hear in its next beat."""
        if node is None:
            return
        message = CloseSession(admission.fence, reason)
        try:
            await self._nodes.close_session(node, str(admission.session_id), message)
        except (NodeRefused, NodeUnreachable) as error:
            log.info("a node will hear of an end in its next beat: %s", error)


def _no_answer() -> Problem:
    return Problem(
        503,
        "try_again",
        "The media server does not answer; try again.",
        retry_after_s=RETRY_AFTER_S,
    )
