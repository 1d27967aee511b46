"""What every answer of the origin has in common: problems as JSON, the Origin check, body limits."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import TypeAlias
from urllib.parse import urlsplit

import asyncpg
from aiohttp import web

from control.database import AWAY, COLLISION, try_again
from control.problem import Problem, bad_query

log = logging.getLogger(__name__)

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

FORWARDED_MAX = 16  # proxies one after the other
API_BODY_BYTES_MAX = 64 * 1024
BODY_READ_S = 10.0  # a client that dribbles its body holds no handler for longer
NAMED_CHARS_MAX = 40  # of what a client calls something
# Whoever tries what is not theirs, or too often, is written down (without who they say they are).
REFUSALS = frozenset({401, 403, 429})
REFUSALS_LOGGED_MAX = 25
REFUSALS_EVERY_S = 10.0
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
COOKIE = "lectern_session"
SECURE_COOKIE = "__Host-lectern_session"

# The code of an error that aiohttp raised by itself.
_CODES = {404: "not_found", 405: "method_not_allowed", 413: "too_large"}
_DETAILS = {
    404: "There is nothing at this address.",
    405: "This address does not take that method.",
    413: "The request is too large.",
}


def problem_response(problem: Problem) -> web.Response:
    """Return the problem as RFC 9457 JSON."""
    body = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "code": problem.code,
        "detail": problem.detail,
        **problem.extra,
    }
    response = web.Response(
        status=problem.status,
        body=json.dumps(body).encode(),
        content_type="application/problem+json",
        headers={"Cache-Control": "no-store"},
    )
    if problem.retry_after_s is not None:
        response.headers["Retry-After"] = str(problem.retry_after_s)
    return response


class Refusals:
    """Writes refusals down, so many in a while: whoever is refused on and on must not fill the log."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` is monotonic, in seconds."""
        self._clock = clock
        self._since_s = -REFUSALS_EVERY_S
        self._count = 0

    def note(self, method: str, route: str, code: str) -> None:
        now_s = self._clock()
        if now_s - self._since_s >= REFUSALS_EVERY_S:
            if self._count > REFUSALS_LOGGED_MAX:
                log.info("%d more were refused", self._count - REFUSALS_LOGGED_MAX)
            self._since_s, self._count = now_s, 0
        self._count += 1
        if self._count <= REFUSALS_LOGGED_MAX:
            log.info("%s %s was refused: %s", method, route, code)


_refusals = Refusals()


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error into a problem; whatever is not expected is logged and said to be ours."""
    try:
        response = await handler(request)
    except Problem as problem:
        if problem.status in REFUSALS:
            _refusals.note(request.method, _route(request), problem.code)
        response = problem_response(problem)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        response = problem_response(_of_http(error))
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
    except (*AWAY, *COLLISION) as error:
        log.warning("%s %s: the database is away: %r", request.method, _route(request), error)
        response = problem_response(try_again())
    except asyncpg.PostgresError:
        log.exception("%s %s: the database refused", request.method, _route(request))
        response = problem_response(_internal())
    # The last line of defence of the origin: a bug must answer as JSON too.
    except Exception:
        log.exception("%s %s failed", request.method, _route(request))
        response = problem_response(_internal())
    if not response.prepared:
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        if request.path.startswith("/api/"):
            response.headers.setdefault("Cache-Control", "no-store")
    return response


def behind_proxies(trusted: Sequence[Network]) -> Callable[..., Awaitable[web.StreamResponse]]:
    """Return the middleware that believes X-Forwarded-For and -Proto where a trusted proxy sent them.

    Each proxy appends whom it heard, so the last address that is no proxy of ours is the client's;
    what stands before it the client may have written itself.
    """

    @web.middleware
    async def forwarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not _is_of(request.remote, trusted):
            return await handler(request)
        remote = request.remote or ""
        heard = ",".join(request.headers.getall("X-Forwarded-For", ())).split(",")
        for address in reversed([part.strip() for part in heard[-FORWARDED_MAX:]]):
            try:
                remote = str(ipaddress.ip_address(address))
            except ValueError:
                break
            if not _is_of(remote, trusted):
                break
        scheme = request.headers.get("X-Forwarded-Proto", request.scheme).lower()
        if scheme not in ("http", "https"):
            scheme = request.scheme
        return await handler(request.clone(remote=remote, scheme=scheme))

    return forwarded


def _is_of(address: str | None, networks: Sequence[Network]) -> bool:
    try:
        known = ipaddress.ip_address(address or "")
    except ValueError:
        return False
    if isinstance(known, ipaddress.IPv6Address) and known.ipv4_mapped is not None:
        known = known.ipv4_mapped
    return any(known in network for network in networks)


@web.middleware
async def nothing_twice(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse a query that says one thing twice: a proxy may have judged the other one."""
    if len(set(request.query)) < len(request.query):
        twice = next(name for name in request.query if len(request.query.getall(name)) > 1)
        raise bad_query(twice[:NAMED_CHARS_MAX], "is there twice")
    return await handler(request)


def origin_check(public_url: str | None) -> Callable[..., Awaitable[web.StreamResponse]]:
    """Return the middleware that refuses unsafe requests which another site's page made."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method not in SAFE_METHODS and "Authorization" not in request.headers:
            origin = request.headers.get("Origin")
            has_cookie = any(name in request.cookies for name in (COOKIE, SECURE_COOKIE))
            # Without a cookie, signing in is still something a foreign page must not do for somebody.
            if has_cookie if origin is None else not _same(origin, request, public_url):
                raise Problem(403, "bad_origin", "This request came from another site's page.")
        return await handler(request)

    return check


def _same(origin: str, request: web.Request, public_url: str | None) -> bool:
    try:
        given = urlsplit(origin)
        if public_url is not None:
            public = urlsplit(public_url)
            if (given.scheme, given.netloc) == (public.scheme, public.netloc):
                return True
    except ValueError:
        return False
    return bool(given.netloc) and given.netloc.lower() == request.host.lower()


async def streamed(
    request: web.Request, response: web.StreamResponse, parts: AsyncIterator[bytes]
) -> web.StreamResponse:
    """Send `parts` as the body of `response`; where they fail half-way, the connection is cut.

    The status has been sent by then, so a cut is the only way to say that something is missing.
    Before the first part an error is a problem like any other.
    """
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = "no-store"
    first = await anext(parts, b"")
    await response.prepare(request)
    try:
        await response.write(first)
        async for part in parts:
            await response.write(part)
        await response.write_eof()
    except ConnectionError:
        pass  # the client has gone
    # Whatever it is, the answer under way cannot become a problem any more.
    except Exception:
        log.exception("%s %s broke off", request.method, _route(request))
        if request.transport is not None:
            request.transport.abort()
    return response


async def read_body(request: web.Request) -> bytes:
    """Return the body of an API request; Problem too_large, invalid_request for another type."""
    if (request.content_length or 0) > API_BODY_BYTES_MAX:
        raise _too_large()
    if request.content_type != "application/json":
        raise Problem(400, "invalid_request", "The body must be sent as application/json.")
    try:
        async with asyncio.timeout(BODY_READ_S):
            data = await request.content.read(API_BODY_BYTES_MAX + 1)
            while len(data) <= API_BODY_BYTES_MAX and not request.content.at_eof():
                data += await request.content.read(API_BODY_BYTES_MAX + 1 - len(data))
    except TimeoutError as error:
        raise Problem(408, "invalid_request", "The request took too long to arrive.") from error
    if len(data) > API_BODY_BYTES_MAX:
        raise _too_large()
    return data


def _too_large() -> Problem:
    return Problem(413, "too_large", f"A request has at most {API_BODY_BYTES_MAX} bytes here.")


def _of_http(error: web.HTTPException) -> Problem:
    code = _CODES.get(error.status, "invalid_request" if error.status < 500 else "internal")
    return Problem(error.status, code, _DETAILS.get(error.status, error.reason))


def _internal() -> Problem:
    return Problem(500, "internal", "Something went wrong here; it was written down.")


def _route(request: web.Request) -> str:
    # The pattern, not the path: a path may hold a link's token.
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "(no route)"
