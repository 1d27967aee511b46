"""The node's internal HTTP API (`wire.session`): sessions opened, patched and closed by signaling."""

from __future__ import annotations

import hmac
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

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

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

LINKS = "/links/"

STATUS_OF = {
    "stale": 409,
    "no_capacity": 503,
    "wrong_node": 503,
    "draining": 503,
    "unknown_session": 404,
    "bad_message": 400,
    "loop": 409,
    "no_parent": 503,
}


class Refused(Exception):
    """The node will not; becomes a `Refusal`."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.refusal = Refusal(code, detail)


class TellingMetrics(Protocol):
    """Tells the node's figures in Prometheus's text format."""

    def text(self) -> bytes: ...


class LinkingNode(Protocol):
    """What the API asks of the node's links to others."""

    def offer(self, class_id: str, offer: OfferLink) -> None: ...
    async def take(self, class_id: str, take: TakeLink) -> None: ...
    def close_above(self, class_id: str, close: CloseLink) -> None: ...
    def close_below(self, class_id: str, close: CloseLink) -> None: ...
    async def serve(self, request: web.Request) -> web.StreamResponse: ...


class ServingNode(Protocol):
    """What the API asks of the node."""

    @property
    def secret(self) -> str: ...
    @property
    def metrics(self) -> TellingMetrics: ...
    def open_session(self, message: OpenSession) -> SessionOpened: ...
    def patch_session(self, session_id: str, message: PatchSession) -> SessionPatched: ...
    def close_session(self, session_id: str, message: CloseSession) -> None: ...
    def end_class(self, class_id: str, epoch: int) -> None: ...
    def move_class(self, class_id: str, epoch: int) -> None: ...
    @property
    def cascade(self) -> LinkingNode: ...


class InternalServer:
    """Listens on `host:port` or `unix:/path`; `url` is where it can be reached."""

    def __init__(self, node: ServingNode, listen: str, metrics_token: str | None = None) -> None:
        self._node = node
        self._metrics_token = metrics_token
        self._listen = listen
        app = web.Application(
            middlewares=[self._authorise], client_max_size=codec.MESSAGE_BYTES_MAX
        )
        app.add_routes(
            [
                web.post("/sessions", self._open),
                web.patch("/sessions/{session_id}", self._patch),
                web.delete("/sessions/{session_id}", self._close),
                web.delete("/classes/{class_id}", self._end_class),
                web.post("/classes/{class_id}/move", self._move_class),
                web.post("/classes/{class_id}/links", self._offer_link),
                web.delete("/classes/{class_id}/links", self._close_below),
                web.post("/classes/{class_id}/upstream", self._take_link),
                web.delete("/classes/{class_id}/upstream", self._close_above),
                web.get(f"{LINKS}{{link_id}}", self._link),
                web.get("/health", self._health),
                web.get("/metrics", self._metrics),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        self.url = ""

    async def start(self) -> None:
        """Listen; raises OSError as bind() does."""
        await self._runner.setup()
        if self._listen.startswith("unix:"):
            path = self._listen.removeprefix("unix:")
            _make_room(Path(path))
            await web.UnixSite(self._runner, path).start()
            os.chmod(path, 0o600)
            self.url = self._listen
            return
        host, _, port = self._listen.rpartition(":")
        await web.TCPSite(self._runner, host.strip("[]") or None, int(port)).start()
        self.url = f"http://{host}:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        await self._runner.cleanup()

    @web.middleware
    async def _authorise(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith(LINKS):
            return await handler(request)  # another node, which proves the key of its link
        accepted = [self._node.secret]
        if request.path == "/metrics" and self._metrics_token is not None:
            accepted.append(self._metrics_token)
        given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        if not any(hmac.compare_digest(f"Bearer {s}".encode(), given) for s in accepted):
            log.warning("%s %s refused: not by our secret", request.method, request.path)
            return _refusal(401, Refusal("wrong_node", "the bearer is not this node's secret"))
        try:
            return await handler(request)
        except Refused as refused:
            log.info("%s %s refused: %s", request.method, request.path, refused)
            return _refusal(STATUS_OF[refused.refusal.code], refused.refusal)
        except codec.WireError as error:
            return _refusal(400, Refusal("bad_message", str(error)))

    async def _open(self, request: web.Request) -> web.Response:
        message = codec.unpack(OpenSession, await request.read())
        return _answer(self._node.open_session(message))

    async def _patch(self, request: web.Request) -> web.Response:
        message = codec.unpack(PatchSession, await request.read())
        return _answer(self._node.patch_session(request.match_info["session_id"], message))

    async def _close(self, request: web.Request) -> web.Response:
        message = codec.unpack(CloseSession, await request.read())
        self._node.close_session(request.match_info["session_id"], message)
        return web.Response(status=204)

    async def _end_class(self, request: web.Request) -> web.Response:
        message = codec.unpack(CloseClass, await request.read())
        self._node.end_class(request.match_info["class_id"], message.epoch)
        return web.Response(status=204)

    async def _move_class(self, request: web.Request) -> web.Response:
        message = codec.unpack(MoveClass, await request.read())
        self._node.move_class(request.match_info["class_id"], message.epoch)
        return web.Response(status=204)

    async def _offer_link(self, request: web.Request) -> web.Response:
        message = codec.unpack(OfferLink, await request.read())
        self._node.cascade.offer(request.match_info["class_id"], message)
        return web.Response(status=204)

    async def _take_link(self, request: web.Request) -> web.Response:
        message = codec.unpack(TakeLink, await request.read())
        await self._node.cascade.take(request.match_info["class_id"], message)
        return web.Response(status=204)

    async def _close_below(self, request: web.Request) -> web.Response:
        message = codec.unpack(CloseLink, await request.read())
        self._node.cascade.close_below(request.match_info["class_id"], message)
        return web.Response(status=204)

    async def _close_above(self, request: web.Request) -> web.Response:
        message = codec.unpack(CloseLink, await request.read())
        self._node.cascade.close_above(request.match_info["class_id"], message)
        return web.Response(status=204)

    async def _link(self, request: web.Request) -> web.StreamResponse:
        return await self._node.cascade.serve(request)

    async def _metrics(self, request: web.Request) -> web.Response:
        return web.Response(
            body=self._node.metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response()


def _make_room(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # of a process that was killed


def _answer(message: SessionOpened | SessionPatched) -> web.Response:
    return web.Response(body=codec.pack(message), content_type="application/msgpack")


def _refusal(status: int, refusal: Refusal) -> web.Response:
    return web.Response(status=status, body=codec.pack(refusal), content_type="application/msgpack")
