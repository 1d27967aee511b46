"""A control that keeps seats in memory and a node that answers from a script: for signaling alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from aiohttp import web

from control import (
    Account,
    Admission,
    ClassEnd,
    Control,
    NodeAddress,
    Problem,
    TreeChange,
    ViewerPlace,
)
from wire import codec
from wire.session import (
    Answer,
    Candidate,
    CloseSession,
    OpenSession,
    Outgoing,
    PatchSession,
    Refusal,
    SessionOpened,
    SessionPatched,
    resume_secret_of,
)

FINGERPRINT = ("sha-256", ":".join(["AB"] * 32))
TEACHER = Account(uuid4(), "Ada", "teacher", False)
STUDENT = Account(uuid4(), "Bob", "student", False)
CLASS_ID = uuid4()
LINK = "a-link-token"


@web.middleware
async def problems(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except Problem as problem:
        headers = {}
        if problem.retry_after_s is not None:
            headers["Retry-After"] = str(problem.retry_after_s)
        return web.json_response(
            {"code": problem.code, "detail": problem.detail},
            status=problem.status,
            headers=headers,
            content_type="application/problem+json",
        )


@dataclass
class FakeControl(Control):
    """Says what signaling asked of it in `calls`, in order."""

    nodes: list[NodeAddress] = field(default_factory=list)
    calls: list[tuple[object, ...]] = field(default_factory=list)
    held: dict[UUID, tuple[Admission, NodeAddress | None]] = field(default_factory=dict)
    others: dict[str, Account] = field(default_factory=dict)
    fence: int = 0
    tell_end: Callable[[ClassEnd], None] | None = None

    def describe(self, paths: dict[str, dict[str, Any]]) -> None:
        pass  # this one serves no description

    async def account_of(self, request: web.Request) -> Account:
        name = request.headers.get("X-Account")
        if name is None:
            raise Problem(401, "not_signed_in", "Sign in first.")
        known = {"teacher": TEACHER, "student": STUDENT}
        if name not in known:  # anybody else is a student of their own
            return self.others.setdefault(name, Account(uuid4(), name, "student", False))
        return known[name]

    def _admission(self, account: Account, session_id: UUID | None, host: bool) -> Admission:
        self.fence += 1
        admission = Admission(
            session_id or uuid4(),
            self.fence,
            CLASS_ID,
            "Algebra",
            30,
            account.account_id,
            account.name,
            host,
        )
        self.held[admission.session_id] = (admission, None)
        return admission

    async def admit(
        self,
        account: Account,
        *,
        link_token: str | None = None,
        class_id: UUID | None = None,
        takeover: bool = False,
        resume_of: UUID | None = None,
    ) -> Admission:
        self.calls.append(("admit", link_token, class_id, takeover, resume_of))
        if link_token not in (None, LINK):
            raise Problem(404, "link_invalid", "This link is not valid.")
        return self._admission(account, resume_of, False)

    async def admit_host(
        self, account: Account, class_id: UUID, *, resume_of: UUID | None = None
    ) -> Admission:
        self.calls.append(("admit_host", class_id, resume_of))
        if account is not TEACHER:
            raise Problem(403, "not_owner", "This class is another teacher's.")
        return self._admission(account, None, True)

    async def session_of(
        self, account: Account, session_id: UUID
    ) -> tuple[Admission, NodeAddress | None]:
        if session_id not in self.held or self.held[session_id][0].user_id != account.account_id:
            raise Problem(404, "not_found", "There is no such session.")
        return self.held[session_id]

    def when_class_ends(self, tell: Callable[[ClassEnd], None]) -> None:
        self.tell_end = tell

    async def leave(
        self, account: Account, session_id: UUID, reason: str, *, class_id: UUID | None = None
    ) -> None:
        self.calls.append(("leave", session_id, reason))
        self.held.pop(session_id, None)

    async def abandon(self, admission: Admission, reason: str) -> None:
        self.calls.append(("abandon", admission.session_id, reason))
        self.held.pop(admission.session_id, None)

    async def place(self, class_id: UUID, *, exclude: frozenset[UUID] = frozenset()) -> NodeAddress:
        self.calls.append(("place", class_id, exclude))
        for node in self.nodes:
            if node.node_id not in exclude:
                return node
        raise Problem(503, "no_capacity", "No media server is free.", retry_after_s=3)

    async def place_viewer(
        self,
        admission: Admission,
        *,
        exclude: frozenset[UUID] = frozenset(),
        full: frozenset[UUID] = frozenset(),
        grows: bool = True,
    ) -> ViewerPlace:
        return ViewerPlace(await self.place(admission.class_id, exclude=exclude | full))

    def when_tree_changes(self, tell: Callable[[TreeChange], None]) -> None:
        pass  # this one has no edges

    async def heal_trees(self) -> None:
        pass

    async def close_idle_edges(self) -> None:
        pass

    async def living_nodes(self) -> list[NodeAddress]:
        return self.nodes

    async def shun(self, node_id: UUID) -> None:
        self.calls.append(("shun", node_id))

    async def bind_session(
        self, admission: Admission, node_id: UUID, *, as_edge: bool = False
    ) -> bool:
        self.calls.append(("bind_session", admission.session_id, node_id))
        node = next(n for n in self.nodes if n.node_id == node_id)
        self.held[admission.session_id] = (admission, node)
        return True


@dataclass
class FakeNode:
    """A node's internal API on a unix socket; `refuse` is what it says instead of opening."""

    address: NodeAddress
    opened: list[OpenSession] = field(default_factory=list)
    closed: list[tuple[str, CloseSession]] = field(default_factory=list)
    patched: list[PatchSession] = field(default_factory=list)
    refuse: Refusal | None = None

    def _check(self, request: web.Request) -> None:
        assert request.headers["Authorization"] == f"Bearer {self.address.secret}"

    async def open(self, request: web.Request) -> web.Response:
        self._check(request)
        message = codec.unpack(OpenSession, await request.read())
        if self.refuse:
            return web.Response(status=409, body=codec.pack(self.refuse))
        self.opened.append(message)
        outgoing = {}
        if message.role == "viewer":
            for index, section in enumerate(message.offer.sections):
                outgoing[section.mid] = Outgoing(index + 1, "c", "s", f"t{index}", index + 100)
        answer = Answer(
            "ourufrag",
            "ourpassword0123456789abc",
            FINGERPRINT,
            "server",
            (Candidate("192.0.2.1", 7000),),
            outgoing,
        )
        secret = resume_secret_of(self.address.secret, message.session_id)
        return web.Response(body=codec.pack(SessionOpened(answer, secret)))

    async def patch(self, request: web.Request) -> web.Response:
        self._check(request)
        if self.refuse:
            return web.Response(status=404, body=codec.pack(self.refuse))
        self.patched.append(codec.unpack(PatchSession, await request.read()))
        candidates = (Candidate("192.0.2.1", 7000),)
        answer = SessionPatched("newufrag", "newpassword0123456789abc", candidates)
        return web.Response(body=codec.pack(answer))

    async def close(self, request: web.Request) -> web.Response:
        self._check(request)
        message = codec.unpack(CloseSession, await request.read())
        self.closed.append((request.match_info["id"], message))
        return web.Response(status=204)


@asynccontextmanager
async def fake_node(path: str) -> AsyncIterator[FakeNode]:
    node = FakeNode(NodeAddress(uuid4(), f"unix:{path}", "node-secret"))
    app = web.Application()
    app.add_routes(
        [
            web.post("/sessions", node.open),
            web.patch("/sessions/{id}", node.patch),
            web.delete("/sessions/{id}", node.close),
        ]
    )
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, path).start()
    try:
        yield node
    finally:
        await runner.cleanup()
