"""Pages and modules: the right types and headers, nothing from outside their folders."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from web.pages import ROOT, TYPES, add_routes

Client = TestClient[web.Request, web.Application]


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    app = web.Application()
    add_routes(app)
    async with TestClient(TestServer(app)) as client:
        yield client


@pytest.mark.parametrize(
    "path", ["/", "/dashboard", "/teach/some-class", "/c/some-token", "/api/docs"]
)
async def test_pages_carry_the_headers_that_bind_them(client: Client, path: str) -> None:
    async with client.get(path) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        policy = response.headers["Content-Security-Policy"]
        assert "script-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "display-capture=(self)" in response.headers["Permissions-Policy"]
        text = await response.text()
    # The policy would refuse these; a page must not need them.
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon\w+=|https?://", text)


async def test_every_file_of_the_pages_is_served_with_its_type(client: Client) -> None:
    files = [file for file in ROOT.rglob("*") if file.suffix in TYPES]
    assert len(files) > 20
    for file in files:
        async with client.get(f"/static/{file.relative_to(ROOT).as_posix()}") as response:
            assert response.status == 200, file
            assert response.content_type == TYPES[file.suffix]
            assert response.headers["Cache-Control"] == "no-cache"
            assert await response.read() == file.read_bytes()


async def test_every_import_of_a_module_leads_to_a_file() -> None:
    for file in (*ROOT.glob("core/*.js"), *ROOT.glob("app/*.js")):
        for target in re.findall(r'from "([^"]+)"', file.read_text()):
            assert (file.parent / target).is_file(), f"{file.name} imports {target}"
            # The arrow between the folders.
            if file.parent.name == "core":
                assert "/app/" not in target, f"{file.name} imports {target}"


async def test_an_unchanged_file_is_not_sent_again(client: Client) -> None:
    async with client.get("/static/app/style.css") as response:
        tag = response.headers["ETag"]
    async with client.get("/static/app/style.css", headers={"If-None-Match": tag}) as response:
        assert response.status == 304


@pytest.mark.parametrize(
    "path",
    [
        "/static/../setup.cfg",
        "/static/core/../../setup.cfg",
        "/static/core/%2e%2e/%2e%2e/setup.cfg",
        "/static/core/..%2f..%2fsetup.cfg",
        "/static/core//../pages.py",
        "/static/pages.py",
        "/static/app/landing.html",
        "/static/vendor/README.md",
        "/static/core",
        "/static/core/",
        "/static/core/none.js",
        "/static/core/%00.js",
        "/static/core/" + "a" * 5000 + ".js",
        "/static/app/style.css/",
    ],
)
async def test_nothing_else_is_served(client: Client, path: str) -> None:
    from yarl import URL

    async with client.get(URL(path, encoded=True), allow_redirects=False) as response:
        assert response.status == 404
