"""Credentials of a TURN server are asked for when the direct ways do not work, and used then."""

from __future__ import annotations

import re
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Route, expect

from tests.browser.browsers import chromium_context
from tests.browser.journeys import (
    Journey,
    expect_watching,
    sign_up,
    start_class,
    student_opens,
    teacher_creates_class,
)
from tests.lectern.running import Up

pytestmark = [pytest.mark.browser("chromium"), pytest.mark.long]

ALLOCATE_REQUEST = b"\x00\x03"  # RFC 8656, section 3
ASKED_S_MAX = 20.0
# TEST-NET-1 (RFC 5737): nobody answers there.
CANDIDATE = re.compile(r"(a=candidate:\S+ 1 \S+ \d+) \S+ \d+")


@pytest.fixture
def turn() -> Iterator[socket.socket]:
    """A socket in the place of a TURN server."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(0.2)
        yield server


@pytest.fixture
def relayed(turn: socket.socket) -> Iterator[Up]:
    home = Path(tempfile.mkdtemp(prefix="lectern-turn-", dir="/tmp"))
    url = f"turn:127.0.0.1:{turn.getsockname()[1]}?transport=udp"
    up = Up(home / "data", "--throttle", "off", "--turn-urls", url)
    up.variables["LECTERN_TURN_SECRET"] = "a secret of this test"
    yield up.start()
    up.stop()
    shutil.rmtree(home, ignore_errors=True)


def test_a_page_asks_for_a_relay_only_when_nothing_else_passes(
    relayed: Up, student_browser: Browser, turn: socket.socket
) -> None:
    url = relayed.url.replace("127.0.0.1", "localhost")
    teacher, link = teacher_creates_class(chromium_context(student_browser), url)
    start_class(teacher.page)
    asked: list[str] = []

    # Whoever connects directly asks for nothing.
    direct = Journey.on(chromium_context(student_browser))
    direct.page.on("request", lambda request: asked.append(request.url))
    direct.page.goto(link)
    sign_up(direct.page, "student")
    expect_watching(direct.page)
    direct.page.wait_for_timeout(4000)  # longer than a direct way is given
    assert not [one for one in asked if "ice-servers" in one]

    # An answer whose candidates lead nowhere: as behind a firewall.
    shut = chromium_context(student_browser)

    def lead_nowhere(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=CANDIDATE.sub(r"\1 192.0.2.1 9", answer.text()))

    shut.route("**/live/**/whep*", lead_nowhere)
    # A restart's answer names the candidates again.
    shut.route("**/live/sessions/**", lead_nowhere)
    shut.on("request", lambda request: asked.append(request.url))
    student = student_opens(shut, link)
    deadline = time.monotonic() + ASKED_S_MAX
    seen = b""
    while seen[:2] != ALLOCATE_REQUEST:
        assert time.monotonic() < deadline, f"no allocation is asked for; asked: {asked}"
        student.page.wait_for_timeout(50)  # routes are handled meanwhile
        try:
            seen = turn.recv(2048)
        except TimeoutError:
            continue
    assert len([one for one in asked if "ice-servers" in one]) == 1
    expect(student.page.locator(".stage--watch")).not_to_have_attribute("data-state", "connected")
