"""Browsers, the pages they share, and a running server."""

from __future__ import annotations

import functools
import http.server
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Playwright, sync_playwright

from tests.browser.browsers import PAGES, launch_students, launch_teacher, write_mic
from tests.browser.shares import shared
from tests.lectern.running import Up

__all__ = ["shared"]


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    # Per module: while it is open the thread has a running loop, and other tests want their own.
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="session")
def source_url() -> Iterator[str]:
    """Where the tab to share is served; localhost is a secure context."""
    with serve_source() as url:
        yield url


@contextmanager
def serve_source() -> Iterator[str]:
    """Serve the tab to share on loopback of the network namespace that the caller is in."""
    handler = functools.partial(_QuietHandler, directory=str(PAGES))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://localhost:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def mic_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mic(tmp_path_factory.mktemp("mic") / "mic.wav")


@pytest.fixture(scope="module")
def teacher_program(playwright: Playwright, mic_file: Path) -> Iterator[Browser]:
    browser = launch_teacher(playwright, mic_file)
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def student_program(playwright: Playwright) -> Iterator[Browser]:
    browser = launch_students(playwright)
    yield browser
    browser.close()


@pytest.fixture
def teacher_browser(teacher_program: Browser) -> Iterator[Browser]:
    """A browser without pages that has a tab to share and a microphone."""
    yield teacher_program
    _close_pages(teacher_program)


@pytest.fixture
def student_browser(student_program: Browser) -> Iterator[Browser]:
    """A browser without pages, as students have it."""
    yield student_program
    _close_pages(student_program)


def _close_pages(browser: Browser) -> None:
    for context in browser.contexts:
        context.close()


@pytest.fixture(scope="session")
def server() -> Iterator[Up]:
    """A whole Lectern in its own data directory."""
    # Not pytest's own directory: the database's user may not look into it, and a socket's path is
    # at most 107 bytes long.
    home = Path(tempfile.mkdtemp(prefix="lectern-pages-", dir="/tmp"))
    up = Up(home / "data", "--throttle", "off").start()
    yield up
    up.stop()
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def kept_page(student_program: Browser) -> Iterator[Page]:
    page = student_program.new_page()
    yield page
    page.close()


@pytest.fixture
def page(server: Up, kept_page: Page) -> Page:
    """A page of the server, to run its modules in, that remembers nothing of the test before."""
    kept_page.goto(server.url)
    return kept_page
