"""Pages and modules: the right types and headers, packed and kept, nothing from outside their folders."""

from __future__ import annotations

import gzip
import re
from collections.abc import AsyncIterator
from pathlib import Path

import brotli
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from web.assets import FOLDERS, ROOT, TYPES, Assets
from web.bare import bare
from web.headers import EVERYWHERE, NOT_ON_FILES
from web.pages import PAGES, add_routes

Client = TestClient[web.Request, web.Application]
ADDRESSES = [re.sub(r"\{\w+\}", "some-id", path) for path in PAGES]


async def broken(request: web.Request) -> web.StreamResponse:
    raise RuntimeError("a bug of another part of the origin")


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    app = web.Application()
    add_routes(app)
    app.router.add_post("/api/broken", broken)
    async with TestClient(TestServer(app), auto_decompress=False) as client:
        yield client


@pytest.mark.parametrize("path", ADDRESSES)
async def test_pages_carry_the_headers_that_bind_them(client: Client, path: str) -> None:
    async with client.get(path, headers={"Accept-Encoding": "identity"}) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        policy = response.headers["Content-Security-Policy"]
        assert "script-src 'self'" in policy
        assert "style-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "display-capture=(self)" in response.headers["Permissions-Policy"]
        text = await response.text()
    # The policy would refuse these; a page must not need them.
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon\w+=|https?://", text)


@pytest.mark.parametrize("host", ["class.example.org", "localhost:8443", "school.localhost"])
@pytest.mark.parametrize("https", [True, False])
async def test_who_came_by_https_comes_by_it_alone(host: str, https: bool) -> None:
    app = web.Application()
    add_routes(app, https=https)
    app.router.add_post("/api/broken", broken)
    told = []
    async with TestClient(TestServer(app)) as client:
        for method, path in (
            *(("GET", path) for path in (*ADDRESSES, "/static/app/style.css", "/none")),
            ("POST", "/api/broken"),
        ):
            async with client.request(method, path, headers={"Host": host}) as response:
                told.append(response.headers.get("Strict-Transport-Security"))
    wanted = "max-age=31536000; includeSubDomains" if https and "localhost" not in host else None
    assert set(told) == {wanted}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/static/app/style.css", 200),
        ("GET", "/favicon.ico", 200),
        ("GET", "/no/such/page", 404),
        ("POST", "/", 405),
    ],
)
async def test_every_other_answer_carries_them_too(
    client: Client, method: str, path: str, status: int
) -> None:
    async with client.request(method, path) as response:
        assert response.status == status
        is_file = path.startswith("/static/")
        for name, value in (EVERYWHERE if is_file else EVERYWHERE | NOT_ON_FILES).items():
            assert response.headers[name] == value
        assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")


async def test_every_file_of_the_pages_is_served_with_its_type(client: Client) -> None:
    files = [f for folder in FOLDERS for f in (ROOT / folder).rglob("*") if f.suffix in TYPES]
    assert len(files) > 20
    for file in files:
        plain = {"Accept-Encoding": "identity"}
        path = f"/static/{file.relative_to(ROOT).as_posix()}"
        own = not file.is_relative_to(ROOT / "vendor") and file.suffix != ".svg"
        sent = bare(file.read_text()).encode() if own else file.read_bytes()
        async with client.get(path, headers=plain) as response:
            assert response.status == 200, file
            assert response.content_type == TYPES[file.suffix]
            assert response.headers["Cache-Control"] == "no-cache"
            assert "Content-Encoding" not in response.headers
            assert await response.read() == sent
        for offered, coding, unpack in (
            ("gzip, deflate, br, zstd", "br", brotli.decompress),
            ("gzip;q=0.8, br;q=0", "gzip", gzip.decompress),
        ):
            async with client.get(path, headers={"Accept-Encoding": offered}) as response:
                assert response.headers["Content-Encoding"] == coding
                assert "Accept-Encoding" in response.headers["Vary"]
                assert unpack(await response.read()) == sent


async def test_every_import_of_a_module_leads_to_a_file() -> None:
    for file in (*ROOT.glob("core/*.js"), *ROOT.glob("app/*.js")):
        for target in re.findall(r'(?:from |import\()"([^"]+)"', file.read_text()):
            assert (file.parent / target).is_file(), f"{file.name} imports {target}"
            # The arrow between the folders.
            if file.parent.name == "core":
                assert "/app/" not in target, f"{file.name} imports {target}"


async def test_what_a_page_names_is_kept_for_good(client: Client) -> None:
    async with client.get("/", headers={"Accept-Encoding": "identity"}) as response:
        named = re.findall(r'(?:href|src)="(/static/[^"]+)"', await response.text())
    assert len(named) > 5
    for path in named:
        async with client.get(path) as response:
            assert response.status == 200, path
            assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"


async def test_files_of_another_version_are_served_but_not_kept(client: Client) -> None:
    async with client.get("/static/0123456789abcdef/app/style.css") as response:
        assert response.status == 200
        assert response.headers["Cache-Control"] == "no-store"


def test_another_content_has_another_name(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    names = []
    for content in ("a", "b", "a"):
        (tmp_path / "app" / "x.js").write_text(content)
        names.append(Assets(tmp_path).version)
    assert names[0] == names[2] != names[1]


@pytest.mark.parametrize("path", ["/", "/static/app/style.css"])
@pytest.mark.parametrize("encoding", ["br", "gzip", "identity"])
async def test_what_is_unchanged_is_not_sent_again(
    client: Client, path: str, encoding: str
) -> None:
    takes = {"Accept-Encoding": encoding}
    async with client.get(path, headers=takes) as response:
        tag = response.headers["ETag"]
    async with client.get(path, headers={**takes, "If-None-Match": tag}) as response:
        assert response.status == 304
        assert response.headers["Referrer-Policy"] == "no-referrer"
    async with client.get(path, headers={**takes, "If-None-Match": '"other"'}) as response:
        assert response.status == 200


@pytest.mark.parametrize(
    ("headers", "language"),
    [
        ({}, "en"),
        ({"Accept-Language": "de-AT,de;q=0.9,en;q=0.8"}, "de"),
        ({"Accept-Language": "fr, en;q=0.5, de;q=0.7"}, "de"),
        ({"Accept-Language": "de;q=0, en"}, "en"),
        ({"Accept-Language": "xx;q=zz, ;;,,, de;q=0.1"}, "de"),
        ({"Accept-Language": "x," * 3000 + "de"}, "en"),
        ({"Accept-Language": "de", "Cookie": "lectern_language=en"}, "en"),
        ({"Cookie": "lectern_language=de"}, "de"),
        ({"Cookie": "lectern_language=../../setup"}, "en"),
    ],
)
async def test_a_page_comes_in_its_readers_language(
    client: Client, headers: dict[str, str], language: str
) -> None:
    async with client.get("/", headers={"Accept-Encoding": "identity", **headers}) as response:
        text = await response.text()
        assert {"Accept-Language", "Cookie"} <= set(response.headers["Vary"].split(", "))
    assert f'<html lang="{language}" data-languages="en de">' in text
    assert ("core/strings.de.js" in text) is (language == "de")


@pytest.mark.parametrize(
    "path",
    [
        "/static/../setup.cfg",
        "/static/core/../../setup.cfg",
        "/static/core/%2e%2e/%2e%2e/setup.cfg",
        "/static/core/..%2f..%2fsetup.cfg",
        "/static/core//../pages.py",
        "/static/pages.py",
        "/static/app/page.html",
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
    async with client.get(URL(path, encoded=True), allow_redirects=False) as response:
        assert response.status == 404
