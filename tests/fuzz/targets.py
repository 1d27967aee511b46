"""What is fuzzed of the Python parts: every parser that bytes of strangers reach, each as one function.

A target takes any bytes and returns; what it may raise inside is the one error that its parser names.
Anything else is a finding, and so is an input that takes long.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID

from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from aiortc.rtcsctptransport import parse_packet
from google_crc32c import value as crc32c

from control import Account, Problem
from control.account_api import AccountApi
from control.class_api import CAPACITY, TITLE
from control.fields import Body, Choice, Email, Password
from control.http import origin_check
from control.tokens import digest
from sfu.comments import Author, Comments, Refused
from sfu.live import Live, decode
from sfu.refusals import Refusals
from sfu.sctp import UnsoundPacket, check_packet
from signaling.fragment import read_fragment
from signaling.offer import read_offer
from signaling.reports import read_report
from signaling.resume import resumed
from signaling.sdp import BadOffer
from wire import codec
from wire.beat import Beat, BeatAnswer, Register
from wire.session import CloseSession, OpenSession, PatchSession

Target = Callable[[bytes], None]
WIRE: Final = (OpenSession, PatchSession, CloseSession, Beat, BeatAnswer, Register)
ACCOUNT: Final = Body(
    {
        "email": Email(),
        "name": TITLE,
        "password": Password(),
        "role": Choice(("teacher", "student")),
    },
    {"capacity": CAPACITY},
)


def offer(data: bytes) -> None:
    """SDP of WHIP and WHEP."""
    for role in ("publisher", "viewer"):
        with contextlib.suppress(BadOffer):
            read_offer(data, role)


def fragment(data: bytes) -> None:
    """Trickled candidates and ICE restarts."""
    with contextlib.suppress(BadOffer):
        read_fragment(data)


def wire(data: bytes) -> None:
    """Messages between our processes, which one by the first byte. What is read is packed the same."""
    kind = WIRE[data[0] % len(WIRE)] if data else Beat
    with contextlib.suppress(codec.WireError):
        message = codec.unpack(kind, data[1:])
        assert codec.unpack(kind, codec.pack(message)) == message


class _NoAssociation:
    def on(self, *arguments: Any) -> None:
        """Nobody is told."""


def live(data: bytes) -> None:
    """Messages of clients on the data channel, and comments in them."""
    heard: list[dict[str, Any]] = []
    comments = Comments()
    channel = Live(
        _NoAssociation(),  # type: ignore[arg-type]
        greeting=dict,
        log=comments,
        on_message=heard.append,
        refusals=Refusals(),
    )
    channel._receive(data)
    for message in heard:
        with contextlib.suppress(Refused):
            author = Author("1", "A", "viewer")
            comments.add(author, message.get("text"), now_s=0.0, wall_us=1)
        told, _ = comments.since(0)
        if comments.end:
            assert decode(told)["type"] == "comments"


def sctp(data: bytes) -> None:
    """SCTP packets: what passes our look is read by aiortc in a time bounded by its bytes.

    The checksum is put right, or nothing would get past it.
    """
    packet = bytearray(data.ljust(12, b"\0"))
    packet[8:12] = bytes(4)
    packet[8:12] = crc32c(bytes(packet)).to_bytes(4, "little")
    try:
        check_packet(bytes(packet))
    except UnsoundPacket:
        return
    # Whatever else aiortc raises ends the association (`DtlsTransport._deliver`).
    with contextlib.suppress(Exception):
        parse_packet(bytes(packet))


def fields(data: bytes) -> None:
    """JSON bodies of the API."""
    with contextlib.suppress(Problem):
        ACCOUNT.check(data)


def report(data: bytes) -> None:
    """What pages report of their picture."""
    with contextlib.suppress(ValueError):
        read_report(data)


class _Nobody:
    """Accounts and sessions of which none is the asked one."""

    async def by_api_token(self, token: str) -> None:
        digest(token)

    async def holder(self, token: str) -> None:
        digest(token)

    async def session_of(self, account: Account, session_id: UUID) -> None:
        raise Problem(404, "not_found", "There is no such session.")


async def _served(request: web.Request) -> web.Response:
    return web.Response()


def tokens(data: bytes) -> None:
    """What says who asks: cookies, bearers, the origin and `?resume=`, parted by line ends."""
    lines = (data.decode("latin-1").translate({0: None, 13: None}) + "\n\n\n").split("\n")
    headers = {"Cookie": lines[0], "Origin": lines[2], "Host": "lectern.example"}
    if lines[1]:
        headers["Authorization"] = lines[1]
    path = "/live/links/x/whep?resume=" + quote(lines[3], safe="%&+=;")
    request = make_mocked_request("POST", path, headers=headers)
    nobody: Any = _Nobody()
    account = Account(UUID(int=1), "A", "student", False)
    checks: tuple[Any, ...] = (
        AccountApi(nobody, nobody, secure_cookies=False).account_of(request),
        origin_check("https://lectern.example")(request, _served),
        resumed(nobody, account, request),
    )
    for asked in checks:
        with contextlib.suppress(Problem, StopIteration):
            asked.send(None)
        asked.close()


TARGETS: Final[dict[str, Target]] = {
    target.__name__: target
    for target in (offer, fragment, wire, live, sctp, fields, report, tokens)
}
