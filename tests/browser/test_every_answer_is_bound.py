"""Whatever a whole server answers, pages or not, tells browsers how little it may do."""

from __future__ import annotations

import urllib.error
import urllib.request
from email.message import Message

import pytest

from tests.lectern.running import Up
from web.headers import EVERYWHERE, NOT_ON_FILES, PAGE_POLICY

pytestmark = [pytest.mark.browser("chromium"), pytest.mark.untimed]


def heads(url: str, method: str = "GET") -> tuple[int, Message]:
    request = urllib.request.Request(url, method=method)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.headers


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/healthz", 200),
        ("GET", "/api/openapi.json", 200),
        ("GET", "/api/session", 200),
        ("GET", "/api/me", 401),
        ("GET", "/api/links/none", 404),
        ("PUT", "/api/me", 405),
        ("POST", "/live/links/none/whep", 401),
        ("GET", "/none", 404),
    ],
)
def test_what_is_no_page_shows_nothing(server: Up, method: str, path: str, status: int) -> None:
    got, headers = heads(server.url + path, method)
    assert got == status
    for name, value in (EVERYWHERE | NOT_ON_FILES).items():
        assert headers.get_all(name) == [value], name


def test_a_link_page_is_bound_and_sends_no_referrer(server: Up) -> None:
    status, headers = heads(server.url + "/c/sometoken")
    assert status == 200
    assert headers["Content-Security-Policy"] == PAGE_POLICY
    assert headers["Referrer-Policy"] == "no-referrer"
