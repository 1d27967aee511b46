"""A page names every module it needs, so that none waits for another, and all of it is small."""

from __future__ import annotations

import re

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from web.assets import ROOT, Assets
from web.pages import PAGES, add_routes

STUDENT_PAGE_BYTES_MAX = 100_000


@pytest.mark.parametrize(("path", "name"), PAGES.items())
async def test_every_module_of_a_page_is_fetched_with_it(path: str, name: str) -> None:
    app = web.Application()
    add_routes(app)
    async with (
        TestClient(TestServer(app)) as client,
        client.get(re.sub(r"\{\w+\}", "id", path)) as response,
    ):
        named = re.findall(r'<link rel="modulepreload" href="([^"]+)">', await response.text())
    assert len(named) > 5
    there = {re.sub(r"^/static/\w+/", "", module) for module in named} | {f"app/{name}.js"}
    for module in there:
        text = (ROOT / module).read_text()
        for target in re.findall(r'^(?:import|export) .*?from "([^"]+)"', text, re.M | re.S):
            needed = (ROOT / module).parent.joinpath(target).resolve().relative_to(ROOT)
            assert needed.as_posix() in there, f"{module} waits for {target}"


def test_the_students_page_is_small_when_packed() -> None:
    assets = Assets()
    files = ["app/style.css", "app/lectern.svg", "app/icons.svg", "app/watch.js"]
    files += [*assets.modules_of("app/watch.js"), "core/strings.de.js"]
    # What follows once the page is in a class.
    files += ["app/classroom.js", *assets.modules_of("app/classroom.js")]
    files += ["vendor/msgpack/decode.mjs", *assets.modules_of("vendor/msgpack/decode.mjs")]
    files += ["vendor/msgpack/encode.mjs", *assets.modules_of("vendor/msgpack/encode.mjs")]
    sizes = {file: len(assets.get(file).forms["gzip"]) for file in set(files)}  # type: ignore[union-attr]
    print(sum(sizes.values()), sizes)
    assert sum(sizes.values()) < STUDENT_PAGE_BYTES_MAX * 0.8, sizes
