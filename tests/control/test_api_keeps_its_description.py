"""Schemathesis reads /api/openapi.json and tries to make the server break it.

No answer may be a 5xx, of a status, type or shape that is not described, or let a stranger in. Seeds
are fixed, so a failure comes again.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from control import Control
from signaling import Signaling
from tests.control.people import School
from tests.control.test_accounts import ADA, send
from tests.control.test_openapi import described_in, routed_in
from tests.control.test_sessions import cookie_of

Client = TestClient[web.Request, web.Application]

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
HOOKS = Path(__file__).with_name("schemathesis_hooks.py")
# These end the session that all the others need; they are tried by strangers only.
ENDING = ("signUp", "signIn", "signOut", "deleteMe", "deleteSession")
# A title of spaces fits its JSON Schema and is refused: "visible" cannot be said in one.
UNSAID = "positive_data_acceptance"


# What was answered with which status, by the test that runs.
answered: Counter[tuple[str, str, int]] = Counter()


@web.middleware
async def note_answer(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    response = await handler(request)
    resource = request.match_info.route.resource
    if resource is not None:
        answered[request.method, resource.canonical, response.status] += 1
    return response


@pytest.fixture
async def origin(plane: Control, school: School) -> AsyncIterator[Client]:
    """The API and the live media's routes, with a node, so that it is ready."""
    answered.clear()
    app = web.Application(middlewares=[note_answer])
    plane.add_routes(app)
    async with Signaling(plane) as signaling:
        signaling.add_routes(app)
        node = await school.node()
        await school.sql.execute(
            "UPDATE node SET lease_until = 'infinity' WHERE node_id = $1", node.node_id
        )
        async with TestClient(TestServer(app)) as client:
            yield client


async def run(client: Client, directory: Path, *options: str) -> None:
    """Run Schemathesis against the origin; fails with its report."""
    command = [
        str(SCHEMATHESIS), "run", str(client.make_url("/api/openapi.json")),
        "--exclude-checks", UNSAID, "--request-timeout", "10", "--warnings", "off",
        "--suppress-health-check", "all", "--no-shrink",
        "--generation-with-security-parameters", "false",
    ]  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        *command,
        *options,
        cwd=directory,
        env={**os.environ, "SCHEMATHESIS_HOOKS": str(HOOKS)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        raise
    report = said.decode()
    assert process.returncode == 0, report
    assert "Tested: " in report, report


def errors_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what our own loggers called an error: a problem answered as if it were expected."""
    ours = ("control", "signaling")
    return [
        r.getMessage() for r in caplog.records if r.levelname == "ERROR" and r.name.startswith(ours)
    ]


async def signed_in(client: Client) -> list[str]:
    """Sign a teacher up; return the options that send the session and the page's own Origin."""
    await send(client, "POST", "/api/accounts", ADA)
    here = str(client.make_url("")).rstrip("/")
    return [
        "-H", f"Cookie: lectern_session={cookie_of(client)}", "-H", f"Origin: {here}",
        *(word for name in ENDING for word in ("--exclude-operation-id", name)),
    ]  # fmt: skip


def assert_it_was_let_in() -> None:
    """A run that was answered 401 throughout would have shown nothing."""
    done = {(method, path) for method, path, status in answered if status < 300}
    assert done >= {
        ("POST", "/api/classes"), ("GET", "/api/classes"), ("PATCH", "/api/me"),
        ("GET", "/api/me/export"), ("POST", "/api/tokens"), ("GET", "/api/sessions"),
        ("GET", "/api/attended"),
    }, sorted(done)  # fmt: skip
    refused = sum(count for (_, _, status), count in answered.items() if status == 401)
    assert refused < sum(answered.values()) / 3, answered


async def test_the_whole_origin_is_described(origin: Client) -> None:
    app = origin.app
    assert app is not None
    async with origin.get("/api/openapi.json") as response:
        described = described_in(await response.json())
    assert described == routed_in(app)
    assert ("POST", "/live/links/{token}/whep") in described


@pytest.mark.timeout(110)
async def test_a_teacher_gets_only_what_is_described(
    origin: Client, school: School, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = await signed_in(origin)
    await run(origin, tmp_path, *options, "--seed", "1", "--max-examples", "8",
              "--phases", "examples,coverage,fuzzing")  # fmt: skip
    assert errors_of(caplog) == []
    assert_it_was_let_in()
    await school.assert_invariants()


@pytest.mark.timeout(110)
async def test_a_stranger_gets_only_what_is_described(
    origin: Client, school: School, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await run(origin, tmp_path, "--seed", "1", "--max-examples", "4",
              "--phases", "examples,fuzzing")  # fmt: skip
    assert errors_of(caplog) == []
    assert await school.sql.fetchval("SELECT count(*) FROM class") == 0


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", ["1", "2", "3"])
async def test_a_teacher_gets_only_what_is_described_for_longer(
    origin: Client, school: School, tmp_path: Path, caplog: pytest.LogCaptureFixture, seed: str
) -> None:
    options = await signed_in(origin)
    await run(origin, tmp_path, *options, "--seed", seed, "--max-examples", "60",
              "--max-time", "150", "--phases", "examples,coverage,fuzzing,stateful")  # fmt: skip
    assert errors_of(caplog) == []
    assert_it_was_let_in()
    await school.assert_invariants()
