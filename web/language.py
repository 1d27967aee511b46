"""Which language a page is shown in: what its reader chose, else what the browser asks for."""

from __future__ import annotations

import re
from typing import Final

from aiohttp import hdrs, web

COOKIE: Final = "lectern_language"
# In its words the modules are written; a table of another language stands beside it.
FIRST: Final = "en"
_TABLE: Final = re.compile(r"^core/strings\.([a-z]{2,3})\.js$")
# A browser names some five; more is not looked at.
WISHES_MAX: Final = 16


def languages(paths: list[str]) -> list[str]:
    """Return the languages that there are tables for, the first one first."""
    return [FIRST, *(match[1] for path in paths if (match := _TABLE.match(path)))]


def language_of(request: web.Request, known: list[str]) -> str:
    """Return the cookie's language, else the first that the browser wishes for and we know."""
    chosen = request.cookies.get(COOKIE)
    if chosen in known:
        return chosen
    for wish in _wishes(request.headers.get(hdrs.ACCEPT_LANGUAGE, "")):
        if wish in known:
            return wish
    return FIRST


def _wishes(header: str) -> list[str]:
    """Return the languages of an Accept-Language, dearest first, without their regions."""
    weighed = []
    for part in header.split(",")[:WISHES_MAX]:
        tag, _, weight = part.partition(";")
        try:
            quality = float(weight.strip().removeprefix("q=")) if weight else 1.0
        except ValueError:
            continue
        if quality > 0:
            weighed.append((-quality, tag.strip().lower().partition("-")[0]))
    return [tag for _, tag in sorted(weighed, key=lambda wish: wish[0])]
