"""The client of the nodes' internal API (`wire.session`)."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, TypeVar

import aiohttp

from control import NodeAddress
from wire import codec
from wire.link import CloseLink, OfferLink, TakeLink
from wire.session import (
    CloseClass,
    CloseSession,
    MoveClass,
    OpenSession,
    PatchSession,
    Refusal,
    SessionOpened,
    SessionPatched,
)

CONNECT_S = 1.5
OPEN_S = 2.0  # a node answers in milliseconds; beyond this another one is tried
CLOSE_S = 1.5
OFFER_LINK_S = 1.5
TAKE_LINK_S = 3.0  # answered when the parent has; the node gives that half of it
UNIX_CLIENTS_MAX = 64  # nodes on this machine

T = TypeVar("T")


class NodeUnreachable(Exception):
    """The node did not answer, or not in our language."""


class NodeRefused(Exception):
    """The node answered that it will not; `refusal` says why."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(f"{refusal.code}: {refusal.detail}")
        self.refusal = refusal


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > codec.MESSAGE_BYTES_MAX:
            raise aiohttp.ClientPayloadError("the answer is too long")
    return bytes(body)


class NodeClient:
    """Speaks to any node; connections are kept."""

    def __init__(self) -> None:
        self._http: aiohttp.ClientSession | None = None
        self._unix: OrderedDict[str, aiohttp.ClientSession] = OrderedDict()

    async def close(self) -> None:
        sessions = [*self._unix.values(), *([self._http] if self._http else [])]
        self._unix.clear()
        self._http = None
        for session in sessions:
            await session.close()

    async def open_session(self, node: NodeAddress, message: OpenSession) -> SessionOpened:
        """Open a session; NodeUnreachable or NodeRefused."""
        return await self._ask(node, "POST", "/sessions", message, SessionOpened, OPEN_S)

    async def patch_session(
        self, node: NodeAddress, session_id: str, message: PatchSession
    ) -> SessionPatched:
        """Restart a session's ICE; NodeUnreachable or NodeRefused."""
        path = f"/sessions/{session_id}"
        return await self._ask(node, "PATCH", path, message, SessionPatched, OPEN_S)

    async def close_session(
        self, node: NodeAddress, session_id: str, message: CloseSession
    ) -> None:
        """Close a session, also one that is gone already; NodeUnreachable or NodeRefused."""
        await self._request(node, "DELETE", f"/sessions/{session_id}", message, CLOSE_S)

    async def close_class(self, node: NodeAddress, class_id: str, message: CloseClass) -> None:
        """Empty a class that has ended; NodeUnreachable or NodeRefused."""
        await self._request(node, "DELETE", f"/classes/{class_id}", message, CLOSE_S)

    async def move_class(self, node: NodeAddress, class_id: str, message: MoveClass) -> None:
        """Send a class's sessions elsewhere; NodeUnreachable or NodeRefused."""
        await self._request(node, "POST", f"/classes/{class_id}/move", message, CLOSE_S)

    async def offer_link(self, node: NodeAddress, message: OfferLink) -> None:
        """Tell a parent that a child will come; NodeUnreachable or NodeRefused."""
        path = f"/classes/{message.class_id}/links"
        await self._request(node, "POST", path, message, OFFER_LINK_S)

    async def take_link(self, node: NodeAddress, message: TakeLink) -> None:
        """Let a child get a class from its parent, and wait until it does; NodeUnreachable or
        NodeRefused."""
        path = f"/classes/{message.class_id}/upstream"
        await self._request(node, "POST", path, message, TAKE_LINK_S)

    async def close_upstream(self, node: NodeAddress, class_id: str, message: CloseLink) -> None:
        """Let a child be no edge of a class any more; NodeUnreachable or NodeRefused."""
        await self._request(node, "DELETE", f"/classes/{class_id}/upstream", message, CLOSE_S)

    async def close_link(self, node: NodeAddress, class_id: str, message: CloseLink) -> None:
        """Let a parent forget a child; NodeUnreachable or NodeRefused."""
        await self._request(node, "DELETE", f"/classes/{class_id}/links", message, CLOSE_S)

    async def metrics(self, node: NodeAddress) -> bytes:
        """Return the node's figures in Prometheus's text format; NodeUnreachable or NodeRefused."""
        return await self._request(node, "GET", "/metrics", None, CLOSE_S)

    async def _ask(
        self, node: NodeAddress, method: str, path: str, message: Any, kind: type[T], limit_s: float
    ) -> T:
        body = await self._request(node, method, path, message, limit_s)
        try:
            return codec.unpack(kind, body)
        except codec.WireError as error:
            raise NodeUnreachable(f"node {node.node_id} answered nonsense: {error}") from error

    async def _request(
        self, node: NodeAddress, method: str, path: str, message: Any, limit_s: float
    ) -> bytes:
        client, base = await self._client(node.internal_url)
        try:
            async with client.request(
                method,
                base + path,
                data=None if message is None else codec.pack(message),
                headers={"Authorization": f"Bearer {node.secret}"},
                timeout=aiohttp.ClientTimeout(total=limit_s, sock_connect=CONNECT_S),
                allow_redirects=False,
            ) as response:
                body = await _bounded(response)
                if response.status < 300:
                    return body
        except (aiohttp.ClientError, OSError) as error:
            reason = str(error) or type(error).__name__
            raise NodeUnreachable(f"node {node.node_id} is unreachable: {reason}") from error
        try:
            refusal = codec.unpack(Refusal, body)
        except codec.WireError as error:
            raise NodeUnreachable(f"node {node.node_id} answered {response.status}") from error
        raise NodeRefused(refusal)

    async def _client(self, internal_url: str) -> tuple[aiohttp.ClientSession, str]:
        if not internal_url.startswith("unix:"):
            if self._http is None:
                self._http = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
            return self._http, internal_url.rstrip("/")
        path = internal_url.removeprefix("unix:")
        client = self._unix.pop(path, None)
        if client is None:
            client = aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(path), cookie_jar=aiohttp.DummyCookieJar()
            )
        self._unix[path] = client
        if len(self._unix) > UNIX_CLIENTS_MAX:
            _, oldest = self._unix.popitem(last=False)
            await oldest.close()
        return client, "http://node"
