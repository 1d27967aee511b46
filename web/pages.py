"""Routes of the pages and their modules, with the headers that keep a page's powers small."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from aiohttp import web

ROOT: Final = Path(__file__).resolve().parent

# What may be fetched below /static, by folder and by type. A module that is served with another
# type than a JavaScript one does not run, so types are fixed here and not guessed from the machine.
STATIC_FOLDERS: Final = frozenset({"core", "app", "vendor"})
TYPES: Final = {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}
PATH_CHARACTERS_MAX: Final = 200

PAGES: Final = {
    "/": "landing.html",
    "/dashboard": "dashboard.html",
    "/teach/{class_id}": "teach.html",
    "/c/{token}": "watch.html",
    "/api/docs": "docs.html",
}

# No inline script, no inline style, nobody else's frame. `mediastream:` is what a <video> with a
# live stream counts as in some browsers.
CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "media-src 'self' blob: mediastream:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
# "camera=()" would say more, but Chromium then complains of it whenever a screen is shared.
PERMISSIONS_POLICY: Final = ", ".join(
    (
        "display-capture=(self)",
        "microphone=(self)",
        "autoplay=(self)",
        "fullscreen=(self)",
        "picture-in-picture=(self)",
        "geolocation=()",
    )
)

# "no-cache" lets a browser keep the file and makes it ask each time: with an entity tag that costs
# one small 304, and nobody runs yesterday's module against today's server.
STATIC_HEADERS: Final = {
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}
PAGE_HEADERS: Final = STATIC_HEADERS | {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Permissions-Policy": PERMISSIONS_POLICY,
    # A class link is a secret in a path: it must not travel to anybody as a referrer.
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def add_routes(app: web.Application) -> None:
    """Add the pages and /static/{path} to an application."""
    for path, file in PAGES.items():
        app.router.add_get(path, _page(ROOT / "app" / file))
    app.router.add_get("/static/{path:.+}", _static)
    app.router.add_get("/favicon.ico", _icon)


def _page(file: Path) -> Handler:
    async def serve(request: web.Request) -> web.StreamResponse:
        return _answer(file, "text/html", PAGE_HEADERS)

    return serve


async def _icon(request: web.Request) -> web.StreamResponse:
    return _answer(ROOT / "app" / "lectern.svg", TYPES[".svg"], STATIC_HEADERS)


async def _static(request: web.Request) -> web.StreamResponse:
    file = static_file(request.match_info["path"])
    if file is None:
        raise web.HTTPNotFound
    return _answer(file, TYPES[file.suffix], STATIC_HEADERS)


def static_file(path: str) -> Path | None:
    """Return the file that /static/{path} names, or None for whatever must not be served."""
    if len(path) > PATH_CHARACTERS_MAX or "\0" in path:
        return None
    parts = path.split("/")
    if parts[0] not in STATIC_FOLDERS or any(part in ("", ".", "..") for part in parts):
        return None
    file = ROOT.joinpath(*parts)
    if file.suffix not in TYPES or not file.resolve().is_relative_to(ROOT) or not file.is_file():
        return None
    return file


def _answer(file: Path, content_type: str, headers: dict[str, str]) -> web.FileResponse:
    """Return the file with an entity tag (of its size and time) and a 304 where it is unchanged."""
    response = web.FileResponse(file, headers=headers)
    response.content_type = content_type
    response.charset = "utf-8"
    # No enable_compression here: on a file it costs the sendfile path and, for some 10 kB each,
    # saves little on the networks that carry video.
    return response
