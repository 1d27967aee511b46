"""What browsers may do with our answers: the headers that keep a page's powers small."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

# No inline script, no inline style, nobody else's frame. `mediastream:` is what a <video> with a
# live stream counts as in some browsers.
PAGE_POLICY: Final = "; ".join(
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
# What is no page shows nothing and runs nothing, should a browser ever be led to open it as one. An
# icon that is opened by itself may still be drawn with its own presentation attributes.
OTHER_POLICY: Final = "default-src 'none'; frame-ancestors 'none'"

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

EVERYWHERE: Final = {
    "Content-Security-Policy": OTHER_POLICY,
    # A class link is a secret in a path: it must not travel to anybody as a referrer.
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}
# Of use where an answer can become a document. A module is none, and a class's page fetches thirty:
# these would be 10 of the 100 kB that a first load may cost.
NOT_ON_FILES: Final = {
    "Permissions-Policy": PERMISSIONS_POLICY,
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
}
FILES: Final = "/static/"
# A year, and names below it too (OWASP ASVS 5.0, 3.4.1). Browsers keep it only from a host whose certificate
# they trust, and for no bare address.
ALWAYS_HTTPS: Final = {"Strict-Transport-Security": "max-age=31536000; includeSubDomains"}


async def add_always_https(request: web.Request, response: web.StreamResponse) -> None:
    """Have browsers come by https alone from now on; for an origin that is served by it.

    Not to who tries it out on localhost: every other server there would be shut out for a year.
    """
    try:
        host = urlsplit(f"//{request.host}").hostname or ""
    except ValueError:  # a client's own invention, such as "["
        return
    if host != "localhost" and not host.endswith(".localhost"):
        response.headers.update(ALWAYS_HTTPS)


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Put them on an answer that is about to be sent; what the handler chose itself stays.

    A signal, not a middleware: errors and streams pass here too, and so does what other parts of
    the origin answer.
    """
    is_file = request.path.startswith(FILES) and response.status in (200, 304)
    for name, value in (EVERYWHERE if is_file else EVERYWHERE | NOT_ON_FILES).items():
        response.headers.setdefault(name, value)
