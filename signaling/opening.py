"""The way of an admitted session onto a node, common to WHIP and WHEP."""

from __future__ import annotations

import logging

from aiohttp import web

from control import Admission, Control, NodeAddress, Problem
from signaling import fault
from signaling.answer import write_answer
from signaling.fragment import entity_tag
from signaling.node_client import NodeClient, NodeRefused, NodeUnreachable
from signaling.sdp import ReadOffer
from wire.session import CloseSession, OpenSession, SessionOpened

log = logging.getLogger(__name__)

PLACEMENTS_MAX = 2  # the class's node, and one chosen anew without it
RETRY_AFTER_S = 2


async def open_on_a_node(
    control: Control, nodes: NodeClient, admission: Admission, read: ReadOffer
) -> web.Response:
    """Return the 201 of a session that a node has opened.

    Where no node opens it, the admission is undone and Problem no_capacity or try_again raised.
    """
    fault.after_commit()
    try:
        node, opened = await _place(control, nodes, admission, read)
    except Problem:
        await control.abandon(admission, "never_connected")
        raise
    session_id = str(admission.session_id)
    return web.Response(
        status=201,
        content_type="application/sdp",
        text=write_answer(read, opened.answer),
        headers={
            "Location": f"/live/sessions/{node.node_id}/{session_id}",
            "ETag": entity_tag(session_id, read.offer.ice_ufrag),
            "Accept-Patch": "application/trickle-ice-sdpfrag",
            "Lectern-Resume": f"{session_id}.{opened.resume_secret}",
            "Cache-Control": "no-store",
        },
    )


async def _place(
    control: Control, nodes: NodeClient, admission: Admission, read: ReadOffer
) -> tuple[NodeAddress, SessionOpened]:
    failed: list[NodeAddress] = []
    for _ in range(PLACEMENTS_MAX):
        node = await control.place(admission.class_id, exclude=frozenset(n.node_id for n in failed))
        await control.bind_session(admission, node.node_id)
        try:
            return node, await nodes.open_session(node, _message(admission, read))
        except NodeRefused as error:
            log.warning("node %s refused a session: %s", node.node_id, error)
            if error.refusal.code == "stale":
                # A newer attempt of the same session has overtaken this one.
                raise Problem(
                    503, "try_again", "Another attempt is on its way.", retry_after_s=RETRY_AFTER_S
                ) from error
        except NodeUnreachable as error:
            log.warning("%s", error)
            await _forget(nodes, node, admission)
        failed.append(node)
    raise Problem(
        503, "no_capacity", "No media server is free; try again.", retry_after_s=RETRY_AFTER_S
    )


async def _forget(nodes: NodeClient, node: NodeAddress, admission: Admission) -> None:
    """Close what a node may have opened without telling us; it may also be dead."""
    message = CloseSession(admission.fence, "never_connected")
    try:
        await nodes.close_session(node, str(admission.session_id), message)
    except (NodeRefused, NodeUnreachable):
        # The digest of its next beats finds the difference.
        log.info("node %s could not be told to forget a session", node.node_id)


def _message(admission: Admission, read: ReadOffer) -> OpenSession:
    return OpenSession(
        session_id=str(admission.session_id),
        fence=admission.fence,
        class_id=str(admission.class_id),
        user_id=str(admission.user_id),
        name=admission.name,
        role="publisher" if admission.is_host else "viewer",
        offer=read.offer,
        class_title=admission.class_title,
        capacity=admission.capacity,
        epoch=admission.epoch,
    )
