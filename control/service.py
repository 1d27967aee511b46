"""The control plane as other packages see it."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Callable
from typing import Any
from uuid import UUID

from aiohttp import hdrs, web

from control import metrics, openapi, operations
from control.account_api import BEARER, AccountApi
from control.accounts import Accounts
from control.answers import answer
from control.attendance import AttendanceApi
from control.beats import Beats, Refused
from control.class_api import ClassApi
from control.classes import ClassEnd, Classes
from control.database import AWAY, Database, try_again
from control.export import ExportApi
from control.http import Network, behind_proxies, nothing_twice, origin_check, problems
from control.janitor import Janitor
from control.lobby import Lobbies
from control.metrics import Metrics
from control.model import Account, Admission, Link, NodeAddress, TreeChange, ViewerPlace
from control.operations import Operation
from control.operator_api import OperatorApi
from control.password_rule import PasswordRule
from control.passwords import Passwords
from control.placement import NODES_MAX, Limits, Placement
from control.problem import Problem
from control.redis_map import RedisMap
from control.seats import Seats
from control.sessions import SESSION_IDLE_S, Sessions
from control.throttle import Throttle
from control.token_api import TokenApi
from control.webhooks import Webhook, Webhooks
from wire.beat import Beat, Register
from wire.codec import MESSAGE_BYTES_MAX, WireError, pack, unpack

log = logging.getLogger(__name__)

READY_TIMEOUT_S = 2.0
HOST_ABSENCE_MAX_S = 30 * 60.0


class Control:
    """Every method raises Problem for what the client must be told."""

    def __init__(
        self,
        database: Database,
        redis_map: RedisMap,
        *,
        cluster_secret: str,
        public_url: str | None,
        secure_cookies: bool,
        throttle: bool,
        host_absence_max_s: float,
        trusted_proxies: tuple[Network, ...],
        metrics_token: str | None,
        webhook: Webhook | None,
        limits: Limits,
    ) -> None:
        self._database = database
        self._map = redis_map
        self._cluster_secret = cluster_secret
        self._public_url = public_url
        self._trusted_proxies = trusted_proxies
        self._passwords = Passwords()
        self._metrics = Metrics(metrics_token)
        self._webhooks = Webhooks(database, webhook)
        sessions = Sessions(database)
        throttling = Throttle(redis_map, on=throttle)
        accounts = Accounts(
            database, sessions, self._passwords, PasswordRule(public_url), throttling
        )
        self._lobbies = Lobbies(database)
        self._tell_end: Callable[[ClassEnd], None] = lambda end: None
        self._classes = Classes(database, changed=self._lobbies.look, ended=self._class_ended)
        self._seats = Seats(database)
        self._placement = Placement(database, redis_map, limits=limits)
        self._trees = self._placement.trees
        self._beats = Beats(
            database, redis_map, self._trees, sessions_per_node=limits.sessions_per_node
        )
        self._janitor = Janitor(
            database,
            idle_s=SESSION_IDLE_S,
            host_absence_max_s=host_absence_max_s,
            ended=self._class_ended,
        )
        self._account_api = AccountApi(accounts, sessions, secure_cookies=secure_cookies)
        self._class_api = ClassApi(
            database, self._classes, self._account_api, throttling, public_url
        )
        attendance = AttendanceApi(database, self._classes, self._account_api)
        tokens = TokenApi(accounts, sessions, self._account_api)
        export = ExportApi(database, accounts, sessions, self._class_api, self._account_api)
        self._operations = [
            *self._account_api.operations(),
            *tokens.operations(),
            *export.operations(),
            *self._class_api.operations(),
            *self._lobbies.operations(),
            *attendance.operations(),
            *OperatorApi(database, self._account_api).operations(),
            *self._health_operations(),
            *self._metrics.operations(),
        ]
        self._more_paths: dict[str, dict[str, Any]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    async def open(
        cls,
        *,
        database_url: str,
        redis_url: str,
        cluster_secret: str,
        public_url: str | None = None,
        secure_cookies: bool = False,
        throttle: bool = True,
        host_absence_max_s: float = HOST_ABSENCE_MAX_S,
        trusted_proxies: tuple[Network, ...] = (),
        metrics_token: str | None = None,
        webhook: Webhook | None = None,
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> Control:
        """Connect and start what runs by itself; `close` ends it. The schema must be migrated.

        A class whose teacher publishes nothing for `host_absence_max_s` ends by itself. What comes
        from `trusted_proxies` is taken for what its X-Forwarded-For says. /metrics is there for who
        has `metrics_token`. `limits` say when a node is full.
        """
        control = cls(
            await Database.open(database_url),
            RedisMap(redis_url),
            cluster_secret=cluster_secret,
            public_url=public_url,
            secure_cookies=secure_cookies,
            throttle=throttle,
            host_absence_max_s=host_absence_max_s,
            trusted_proxies=trusted_proxies,
            metrics_token=metrics_token,
            webhook=webhook,
            limits=limits,
        )
        control._seats.start()
        control._tasks = [
            asyncio.create_task(control._janitor.run(), name="janitor"),
            asyncio.create_task(control._lobbies.run(), name="lobbies"),
            asyncio.create_task(metrics.watch_lag(), name="lag"),
            asyncio.create_task(control._webhooks.run(), name="webhooks"),
        ]
        return control

    async def close(self) -> None:
        """Stop every task and close every connection."""
        self._lobbies.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._beats.close()
        await self._placement.close()
        await self._seats.close()
        self._passwords.close()
        await self._map.close()
        await self._database.close()

    def add_routes(self, app: web.Application) -> None:
        """Add /api, /healthz and /readyz, and the middlewares that the whole origin shares:
        problem+json for every error (404 and 405 too), the Origin check, body limits."""
        app.middlewares.append(metrics.counted)
        if self._trusted_proxies:
            app.middlewares.append(behind_proxies(self._trusted_proxies))
        app.middlewares.append(problems)
        app.middlewares.append(nothing_twice)
        app.middlewares.append(origin_check(self._public_url))
        operations.add(app, self._operations, self.account_of)
        app.on_shutdown.append(self._end_streams)
        app.router.add_get("/api/openapi.json", self._openapi)

    def describe(self, paths: dict[str, dict[str, Any]]) -> None:
        """Add OpenAPI path items of routes that others serve on the origin to /api/openapi.json."""
        self._more_paths |= paths

    def add_internal_routes(self, app: web.Application) -> None:
        """Add /internal/nodes and /internal/beat (`wire.beat`) to the internal listener's app."""
        app.router.add_post("/internal/nodes", self._register)
        app.router.add_post("/internal/beat", self._beat)

    async def account_of(self, request: web.Request) -> Account:
        """Return who is signed in by cookie or bearer token; Problem not_signed_in."""
        return await self._account_api.account_of(request)

    async def admit(
        self,
        account: Account,
        *,
        link_token: str | None = None,
        class_id: UUID | None = None,
        takeover: bool = False,
        resume_of: UUID | None = None,
    ) -> Admission:
        """Take or renew the viewer's seat, by link or as the holder of a seat, committed on return.

        `resume_of` names the session that is continued: while it is open it keeps its id and gets a
        new fence; out of grace it becomes a new session in the same seat. Problems: link_invalid,
        class_not_live, class_ended, class_full, active_elsewhere (with `class_id`, `class_title` and
        `is_host` of the seat there), own_class, not_found, replaced (another tab took the seat;
        final), try_again.
        """
        return await self._seats.admit(
            account,
            link_token=link_token,
            class_id=class_id,
            takeover=takeover,
            resume_of=resume_of,
        )

    async def admit_host(
        self, account: Account, class_id: UUID, *, resume_of: UUID | None = None
    ) -> Admission:
        """Give the teacher of a live class a new publishing session; not_found, not_owner,
        class_not_live, class_ended. The earlier publishing session is revoked; with `resume_of`
        only if it is that one, else Problem replaced."""
        return await self._classes.publish(account, class_id, resume_of)

    async def session_of(
        self, account: Account, session_id: UUID
    ) -> tuple[Admission, NodeAddress | None]:
        """Return the open session that this account made and its node; Problem not_found."""
        return await self._seats.session_of(account, session_id)

    async def leave(
        self, account: Account, session_id: UUID, reason: str, *, class_id: UUID | None = None
    ) -> None:
        """End the session, `left` or `pagehide`; for a host it ends publishing only. Committed on
        return; idempotent. The node hears of it in its next beat, and from signaling at once.
        `class_id`, where it is known, lets those who leave one class share a transaction."""
        await self._seats.leave(account, session_id, reason, class_id)

    async def abandon(self, admission: Admission, reason: str) -> None:
        """Undo an admission whose session no node could open."""
        await self._seats.abandon(admission, reason)

    async def place(self, class_id: UUID, *, exclude: frozenset[UUID] = frozenset()) -> NodeAddress:
        """Return the class's origin node, choosing the least busy live one where it has none or only
        an excluded one: Redis makes it fast, PostgreSQL decides. Problem no_capacity."""
        return await self._placement.place(class_id, exclude)

    async def place_viewer(
        self,
        admission: Admission,
        *,
        exclude: frozenset[UUID] = frozenset(),
        full: frozenset[UUID] = frozenset(),
        grows: bool = True,
    ) -> ViewerPlace:
        """Return the node that is to serve a viewer: the class's origin or an edge, one that is opened
        where none has room. `exclude` do not work, `full` take nobody more. Where the place has a
        `link` that its nodes have not been told, that is to be done first; with `grows` false it never
        has one. Problem no_capacity."""
        return await self._placement.place_viewer(
            admission.class_id,
            stays_on=admission.stays_on,
            exclude=exclude,
            full=full,
            grows=grows,
        )

    def when_tree_changes(self, tell: Callable[[TreeChange], None]) -> None:
        """Let `tell` hear what nodes have to hear of a class's tree, after each commit of this process."""
        self._trees.tell = tell

    async def link_told(self, link: Link) -> None:
        """Note that both nodes of a link have taken it."""
        await self._trees.link_told(link)

    async def lose_edge(self, class_id: UUID, node_id: UUID) -> None:
        """Take an edge out of a class's tree: it does not work. What hangs on it gets another parent."""
        await self._trees.mend(class_id, frozenset({node_id}))

    async def relink(self, link: Link) -> None:
        """Give an edge another link: its parent does not take this one."""
        await self._trees.refused(link)

    async def heal_trees(self) -> None:
        """Mend what is broken in any tree, and tell anew what was not told; any process may, at any time."""
        await self._trees.heal()

    async def close_idle_edges(self) -> None:
        """Close edges that nobody has used for a while."""
        await self._trees.close_idle()

    async def living_nodes(self) -> list[NodeAddress]:
        """Return the nodes whose leases run, as of a second ago at the most."""
        return await self._placement.living()

    async def headroom_of(self, node_id: UUID) -> float | None:
        """Return which part of a node is free, by what it uses most; None where it does not live."""
        return await self._placement.headroom(node_id)

    async def shun(self, node_id: UUID) -> None:
        """Take a node out of rotation for some seconds, for every process: its media does not answer.
        Classes that it has are placed anew when somebody comes."""
        await self._placement.shun(node_id)

    async def bind_session(
        self, admission: Admission, node_id: UUID, *, as_edge: bool = False
    ) -> bool:
        """Write down which node serves the session, before the session is opened there; Problem
        replaced where the session has lost its seat meanwhile. False: the node was to serve it
        `as_edge`, and is none of the class any more."""
        bound = await self._seats.bind(admission, node_id, as_edge=as_edge)
        if not bound:
            self._trees.forget(admission.class_id)
        return bound

    def check_metrics_token(self, request: web.Request) -> None:
        """Let only the holder of the metrics' token pass; not_signed_in, not_found without one."""
        self._metrics.check(request)

    async def live_nodes(self) -> list[NodeAddress]:
        """Return every node that lives, draining ones as well."""
        found = await self._database.rows("metrics.nodes", NODES_MAX)
        return [NodeAddress(n["node_id"], n["internal_url"], n["secret"]) for n in found]

    def when_class_ends(self, tell: Callable[[ClassEnd], None]) -> None:
        """Let `tell` hear of every class that this process ends, after the commit. The nodes hear of
        it in their next beats as well."""
        self._tell_end = tell

    def _class_ended(self, end: ClassEnd) -> None:
        if end.nodes:
            self._tell_end(end)

    async def _end_streams(self, app: web.Application) -> None:
        self._lobbies.close()

    def _health_operations(self) -> list[Operation]:
        return [
            Operation("GET", "/healthz", "health", "Tell that this process answers.",
                      self._healthz, "Status", signed_in=False),
            Operation("GET", "/readyz", "ready", "Tell whether classes can be served: a node is "
                      "registered.", self._readyz, "Status", codes=("no_capacity",),
                      signed_in=False),
        ]  # fmt: skip

    async def _openapi(self, request: web.Request) -> web.Response:
        document = openapi.document(
            self._operations, self._more_paths, cookie=self._account_api.cookie
        )
        return answer(document)

    async def _healthz(self, request: web.Request, fields: dict[str, Any]) -> web.Response:
        return answer({"status": "ok"})

    async def _readyz(self, request: web.Request, fields: dict[str, Any]) -> web.Response:
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                has_node = await self._database.value("node.ready")
        except AWAY as error:
            raise try_again() from error
        if not has_node:
            raise Problem(503, "no_capacity", "No media node is registered.", retry_after_s=1)
        return answer({"status": "ready"})

    async def _register(self, request: web.Request) -> web.Response:
        secret = bearer(request)
        if not hmac.compare_digest(secret.encode(), self._cluster_secret.encode()):
            log.warning("%s tried to register without the cluster secret", request.remote)
            return web.Response(status=401, text="wrong cluster secret")
        try:
            message = unpack(Register, await _internal_body(request))
            return _packed(await self._beats.register(message))
        except WireError as error:
            return web.Response(status=400, text=str(error))
        except Refused as refused:
            log.warning("a node was refused: %s", refused)
            return web.Response(status=refused.status, text=str(refused))
        except AWAY as error:
            log.warning("a node cannot register: the database is away: %r", error)
            return web.Response(status=503, headers={"Retry-After": "1"})

    async def _beat(self, request: web.Request) -> web.Response:
        try:
            message = unpack(Beat, await _internal_body(request))
            answered = await self._beats.beat(message, bearer(request))
            outcome = "accepted" if answered.accepted else "held" if answered.hold else "stale"
            metrics.BEATS.labels(outcome).inc()
            return _packed(answered)
        except WireError as error:
            return web.Response(status=400, text=str(error))
        except Refused as refused:
            metrics.BEATS.labels("refused").inc()
            log.warning("the beat of node %.40r was refused: %s", message.node_id, refused)
            return web.Response(status=refused.status, text=str(refused))


def bearer(request: web.Request) -> str:
    """Return the token of the Authorization header, empty where there is none."""
    header = request.headers.get(hdrs.AUTHORIZATION, "")
    return header[len(BEARER) :] if header.startswith(BEARER) else ""


async def _internal_body(request: web.Request) -> bytes:
    """Return the body; WireError when it is too large. aiohttp's own limit is for people's forms."""
    data = bytearray()
    async for chunk in request.content.iter_chunked(65536):
        data += chunk
        if len(data) > MESSAGE_BYTES_MAX:
            raise WireError(f"more than {MESSAGE_BYTES_MAX} bytes")
    return bytes(data)


def _packed(message: object) -> web.Response:
    return web.Response(body=pack(message), content_type="application/msgpack")
