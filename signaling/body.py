"""Request bodies of SDP, read within bounds."""

from __future__ import annotations

import asyncio

from aiohttp import web

from control import Problem
from signaling.sdp import OFFER_BYTES_MAX

OFFER_TYPE = "application/sdp"
FRAGMENT_TYPE = "application/trickle-ice-sdpfrag"
BODY_READ_S = 10.0  # a client that dribbles its offer holds no handler for longer


async def read_sdp(request: web.Request, content_type: str) -> bytes:
    """Return the body of a request, at most OFFER_BYTES_MAX; it is refused before it is read.

    Raises Problem for another content type, too slow a body and too_large.
    """
    if request.content_type != content_type:
        raise Problem(
            415, "invalid_request", f"The body must be {content_type}, not {request.content_type}."
        )
    if (request.content_length or 0) > OFFER_BYTES_MAX:
        raise _too_large()
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_READ_S):
            async for piece in request.content.iter_any():
                body += piece
                if len(body) > OFFER_BYTES_MAX:
                    raise _too_large()
    except TimeoutError as error:
        raise Problem(408, "invalid_request", "The offer took too long to arrive.") from error
    return bytes(body)


def _too_large() -> Problem:
    return Problem(413, "too_large", f"An offer has at most {OFFER_BYTES_MAX} bytes.")
