"""docs/security.md covers the standard, its tests exist, and what has no test elsewhere is tested here."""

from __future__ import annotations

import ast
import logging
import re
import ssl
from functools import cache
from pathlib import Path

import asyncpg
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from control import Control
from lectern.settings import Settings
from lectern.tls import tls_context
from tests.lectern.test_certificate_is_renewed import make_certificate

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
ROW = re.compile(r"^\| (?P<numbers>\d[\d. ]*) \| (?P<subject>[^|]+) \| (?P<state>[^|]+) \|$")
TESTED = re.compile(r"`([\w/]+\.py)::(test_\w+)`")
DOCUMENTED = re.compile(r"docs/\w+\.md")
# Of levels 1 and 2 in version 5.0.0.
REQUIREMENTS = 253


def required() -> list[str]:
    """Return the numbers of the standard's requirements of levels 1 and 2."""
    found = []
    for part in (Path(__file__).parent / "asvs-5.0.0-level-2.txt").read_text().split():
        head, _, last = part.partition("-")
        section, _, first = head.rpartition(".")
        found += [f"{section}.{n}" for n in range(int(first), int(last or first) + 1)]
    return found


def rows() -> list[re.Match[str]]:
    text = (ROOT / "docs" / "security.md").read_text()
    table = text[text.index("| requirement | subject |") :].splitlines()[2:]
    lines = [line for line in table if line.startswith("|")]
    found = [ROW.match(line) for line in lines]
    assert None not in found, [line for line, row in zip(lines, found, strict=True) if not row]
    return [row for row in found if row is not None]


def test_every_requirement_has_its_place_once() -> None:
    numbers = [number for row in rows() for number in row["numbers"].split()]
    assert len(required()) == REQUIREMENTS
    assert sorted(numbers) == sorted(required())


@pytest.mark.parametrize("row", rows(), ids=lambda row: row["numbers"].split()[0])
def test_a_row_leads_to_a_test_a_document_or_says_what_is_missing(row: re.Match[str]) -> None:
    state = row["state"]
    kind = state.partition(":")[0]
    assert kind in ("tested", "documented", "not here", "gap"), state
    if kind == "tested":
        assert TESTED.findall(state), state
    for file, name in TESTED.findall(state):
        assert name in _tests_of(file), f"{file} has no {name}"
    if kind == "documented":
        assert DOCUMENTED.findall(state) and all(
            (ROOT / path).is_file() for path in DOCUMENTED.findall(state)
        )


@cache
def _tests_of(file: str) -> set[str]:
    tree = ast.parse((TESTS / file).read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in tree.body if isinstance(node, kinds)}


def test_only_new_versions_of_tls_are_spoken(tmp_path: Path) -> None:
    cert, key = make_certificate(tmp_path, "class.example.org")
    context = tls_context(Settings(data=tmp_path, tls_cert=cert, tls_key=key))
    assert context is not None
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    names = {cipher["name"] for cipher in context.get_ciphers()}
    weak = [n for n in names for word in ("RC4", "3DES", "DES-", "NULL", "MD5", "EXP") if word in n]
    assert names and not weak


@pytest.fixture
async def plane_client(database_url: str, redis_url: str) -> object:
    plane = await Control.open(
        database_url=database_url, redis_url=redis_url, cluster_secret="a secret for tests"
    )
    app = web.Application()
    plane.add_routes(app)
    async with TestClient(TestServer(app)) as client:
        yield client
    await plane.close()


async def test_trace_is_refused(plane_client: TestClient[web.Request, web.Application]) -> None:
    async with plane_client.request("TRACE", "/api/me") as response:
        assert response.status == 405
        assert "TRACE" not in await response.text()


async def test_sign_ins_and_refusals_are_written_down(
    plane_client: TestClient[web.Request, web.Application], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    person = {"email": "ada@lectern.example", "password": "a long password"}
    new = person | {"name": "Ada", "role": "teacher"}
    for path, body, status in (
        ("/api/accounts", new, 201),
        ("/api/session", person, 200),
        ("/api/session", person | {"password": "wrong"}, 401),
        ("/api/session", person | {"email": "nobody@lectern.example"}, 401),
    ):
        own = {"Origin": str(plane_client.make_url("/")).rstrip("/")}
        async with plane_client.post(path, json=body, headers=own) as response:
            assert response.status == status
            told = await response.json()
            account_id = told["id"] if status == 200 else ""
    headers = {"Origin": "https://elsewhere.example"}
    async with plane_client.post("/api/classes", json={}, headers=headers) as response:
        assert response.status == 403
    said = caplog.messages
    made = next(m for m in said if m.endswith("was made")).split()[1]
    assert account_id in ("", made)
    assert f"account {made} signed in" in said
    assert f"a sign-in to account {made} failed" in said
    assert "a sign-in to account (none) failed" in said
    assert "POST /api/session was refused: wrong_credentials" in said
    assert "POST /api/classes was refused: bad_origin" in said
    assert "ada@" not in caplog.text and "wrong" not in caplog.text.replace("wrong_cred", "")


async def test_answers_of_the_api_are_kept_by_nobody(
    plane_client: TestClient[web.Request, web.Application],
) -> None:
    person = {"email": "a@lectern.example", "password": "a long password", "name": "A"}
    async with plane_client.post("/api/accounts", json=person | {"role": "student"}) as made:
        assert made.status == 201
        assert made.headers["Cache-Control"] == "no-store"
    for path in ("/api/me", "/api/classes", "/api/attended", "/api/none"):
        async with plane_client.get(path) as response:
            assert response.headers["Cache-Control"] == "no-store", path


async def test_the_cookie_is_bound_to_this_host_and_to_https(
    database_url: str, redis_url: str
) -> None:
    plane = await Control.open(
        database_url=database_url,
        redis_url=redis_url,
        cluster_secret="a secret for tests",
        secure_cookies=True,
    )
    app = web.Application()
    plane.add_routes(app)
    person = {"email": "b@lectern.example", "password": "a long password", "name": "B"}
    try:
        async with TestClient(TestServer(app)) as client:
            async with client.post("/api/accounts", json=person | {"role": "student"}) as made:
                (cookie,) = made.headers.getall("Set-Cookie")
    finally:
        await plane.close()
    name, _, attributes = cookie.partition("=")
    assert name == "__Host-lectern_session"
    parts = {part.strip() for part in attributes.split(";")}
    assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= parts
    assert not any(part.startswith("Domain") for part in parts)


async def test_an_address_is_decoded_once(
    plane_client: TestClient[web.Request, web.Application],
) -> None:
    person = {"email": "c@lectern.example", "password": "a long password", "name": "C"}
    own = {"Origin": str(plane_client.make_url("/")).rstrip("/")}
    async with plane_client.post("/api/accounts", json=person | {"role": "teacher"}) as made:
        assert made.status == 201
    body = {"title": "%41%2541", "capacity": 3}
    async with plane_client.post("/api/classes", json=body, headers=own) as made:
        one = await made.json()
    assert one["title"] == "%41%2541"  # what was sent, never decoded
    token = one["link"].rpartition("/")[2]
    letter = token[0]
    once, twice = f"%{ord(letter):02x}", f"%25{ord(letter):02x}"
    for written, status in ((letter, 200), (once, 200), (twice, 404)):
        path = URL(f"/api/links/{written}{token[1:]}", encoded=True)
        async with plane_client.get(path) as response:
            assert response.status == status, written


async def test_safe_methods_change_nothing(
    plane_client: TestClient[web.Request, web.Application], database_url: str
) -> None:
    person = {"email": "d@lectern.example", "password": "a long password", "name": "D"}
    own = {"Origin": str(plane_client.make_url("/")).rstrip("/")}
    async with plane_client.post("/api/accounts", json=person | {"role": "teacher"}) as made:
        assert made.status == 201
    body = {"title": "Maths", "capacity": 3}
    async with plane_client.post("/api/classes", json=body, headers=own) as made:
        one = await made.json()
    sql = await asyncpg.connect(database_url)
    try:
        tables = [
            row["tablename"]
            for row in await sql.fetch(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
                " AND tablename NOT LIKE '%yoyo%'"
            )
        ]
        assert "class" in tables and "session_token" in tables

        async def kept() -> dict[str, list[str]]:
            return {
                name: sorted(str(row) for row in await sql.fetch(f'SELECT * FROM "{name}"'))
                for name in tables
            }

        before = await kept()
        async with plane_client.get("/api/openapi.json") as described:
            paths = (await described.json())["paths"]
        asked = 0
        for path, item in paths.items():
            if "get" not in item or path.endswith("/events"):
                continue
            there = path.replace("{id}", one["id"])
            there = there.replace("{token}", one["link"].rpartition("/")[2])
            for method in ("GET", "HEAD", "OPTIONS"):
                async with plane_client.request(method, there, params={"q": "a"}) as response:
                    await response.read()
                    # No node is there.
                    assert response.status < 500 or path == "/readyz", there
                    asked += response.status == 200
        assert asked >= 12
        assert await kept() == before
    finally:
        await sql.close()


@pytest.mark.parametrize("query", ["limit=1&limit=200", "cursor=a&cursor=b", "limit=5&limit=5"])
async def test_a_parameter_that_is_there_twice_is_refused(
    plane_client: TestClient[web.Request, web.Application], query: str
) -> None:
    person = {"email": "e@lectern.example", "password": "a long password", "name": "E"}
    async with plane_client.post("/api/accounts", json=person | {"role": "teacher"}) as made:
        assert made.status == 201
    for path in ("/api/classes", "/api/attended", "/api/sessions", "/api/tokens"):
        async with plane_client.get(f"{path}?{query}") as response:
            problem = await response.json()
            assert (response.status, problem["code"]) == (422, "invalid_request")
            assert "twice" in problem["detail"]
    for path in ("/api/operator?q=a&q=b", "/live/links/x/whep?takeover=1&takeover=0", "/?a=1&a=2"):
        async with plane_client.post(path) as response:
            problem = await response.json()
            assert (response.status, problem["code"]) == (422, "invalid_request")
