"""A class whose teacher shares the source tab, for tests of those who join it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Page

from tests.browser import stopwatch
from tests.browser.browsers import chromium_context, open_source
from tests.browser.journeys import Journey, share, start_class, teacher_creates_class
from tests.lectern.running import Up


@dataclass
class Shared:
    """A live class, its teacher's page and the tab that is shared."""

    teacher: Journey
    source: Page
    link: str
    url: str
    up: Up

    def keyframes_asked(self) -> int:
        """Return how many keyframes the teacher's browser was asked for (RFC 4585: PLI)."""
        asked: int = stopwatch.video_counters(self.teacher.page, "outbound")["pliCount"]
        return asked


@pytest.fixture
def shared(server: Up, teacher_browser: Browser, source_url: str) -> Shared:
    url = server.url.replace("127.0.0.1", "localhost")
    teaching = chromium_context(teacher_browser)
    teacher, link = teacher_creates_class(teaching, url, capacity=200)
    source = open_source(teaching, source_url)
    teacher.page.bring_to_front()
    start_class(teacher.page)
    share(teacher.page)
    return Shared(teacher, source, link, url, server)
