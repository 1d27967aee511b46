"""Routes of the pages and their modules."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from string import Template
from typing import Final

from aiohttp import hdrs, web

from web.assets import KEPT, KEPT_BUT_ASKED, ROOT, Asset, Assets
from web.headers import PAGE_POLICY, add_always_https, add_headers
from web.language import FIRST, language_of, languages

# By address: the module that fills the page, which also names it to the stylesheet.
PAGES: Final = {
    "/": "landing",
    "/dashboard": "dashboard",
    "/account": "account",
    "/operator": "operator",
    "/classes/{class_id}": "class",
    "/teach/{class_id}": "teach",
    "/c/{token}": "watch",
    "/api/docs": "docs",
}
ICON: Final = "app/lectern.svg"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def add_routes(app: web.Application, *, https: bool = False) -> None:
    """Add the pages and /static, and to every answer of the application the headers that bind it.

    `https`: browsers reach it by https, its own or a proxy's, and are to go on doing so.
    """
    assets = Assets()
    head = Template((ROOT / "app" / "page.html").read_text())
    for path, name in PAGES.items():
        app.router.add_get(path, _page(assets, head, name))
    app.router.add_get("/static/{path:.+}", _static(assets))
    app.router.add_get("/favicon.ico", _icon(assets))
    app.on_response_prepare.append(add_headers)
    if https:
        app.on_response_prepare.append(add_always_https)


def _page(assets: Assets, head: Template, name: str) -> Handler:
    known = languages(assets.paths())
    made = {language: _written(assets, head, name, language, known) for language in known}

    async def serve(request: web.Request) -> web.StreamResponse:
        page = made[language_of(request, known)]
        vary = (hdrs.ACCEPT_LANGUAGE, hdrs.COOKIE)
        response = page.answer(request, KEPT_BUT_ASKED, vary)
        response.headers["Content-Security-Policy"] = PAGE_POLICY
        return response

    return serve


def _written(assets: Assets, head: Template, name: str, language: str, known: list[str]) -> Asset:
    module = f"app/{name}.js"
    needed = assets.modules_of(module)
    if language != FIRST:
        needed.append(f"core/strings.{language}.js")
    static = f"/static/{assets.version}"
    text = head.substitute(
        language=language,
        languages=" ".join(known),
        static=static,
        name=name,
        module=module,
        preloads="\n".join(f'<link rel="modulepreload" href="{static}/{path}">' for path in needed),
    )
    return Asset.of(text.encode(), "text/html")


def _static(assets: Assets) -> Handler:
    async def serve(request: web.Request) -> web.StreamResponse:
        """Serve `{version}/{file}` to be kept, and `{file}` to be asked for.

        Another version than ours is that of another `web` process while an update is under way: it
        gets what we have, and keeps nothing.
        """
        path = request.match_info["path"]
        asset, cache = assets.get(path), KEPT_BUT_ASKED
        if asset is None:
            version, _, rest = path.partition("/")
            asset = assets.get(rest)
            cache = KEPT if version == assets.version else "no-store"
        if asset is None:
            raise web.HTTPNotFound
        return asset.answer(request, cache)

    return serve


def _icon(assets: Assets) -> Handler:
    async def serve(request: web.Request) -> web.StreamResponse:
        icon = assets.get(ICON)
        assert icon is not None
        return icon.answer(request, KEPT_BUT_ASKED)

    return serve
