"""A student's first look at a class costs a phone little, and tells nobody else."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Browser, CDPSession, expect

from tests.browser.browsers import chromium_context
from tests.browser.journeys import (
    expect_watching,
    start_class,
    student_opens,
    teacher_creates_class,
)
from tests.lectern.running import Up

pytestmark = [pytest.mark.browser("chromium"), pytest.mark.untimed]

FIRST_LOAD_BYTES_MAX = 100_000


@dataclass
class Traffic:
    """What a page has fetched, as the browser counts it: heads and bodies, packed."""

    client: CDPSession
    urls: list[str] = field(default_factory=list)
    received: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.client.send("Network.enable")
        self.client.on("Network.requestWillBeSent", lambda e: self.urls.append(e["request"]["url"]))
        self.client.on(
            "Network.loadingFinished",
            lambda e: self.received.__setitem__(e["requestId"], e["encodedDataLength"]),
        )

    @property
    def bytes(self) -> float:
        return sum(self.received.values())


def test_the_first_load_of_a_link_is_small_and_asks_nobody_else(
    student_browser: Browser, server: Up
) -> None:
    url = server.url.replace("127.0.0.1", "localhost")
    teacher, link = teacher_creates_class(chromium_context(student_browser), url)
    start_class(teacher.page)
    student = student_opens(chromium_context(student_browser), link)
    expect_watching(student.page)
    # The same person in a browser that has nothing kept yet.
    fresh = chromium_context(student_browser, locale="de-DE")  # whose words are a file more
    fresh.add_cookies(student.page.context.cookies())  # type: ignore[arg-type]
    page = fresh.new_page()
    traffic = Traffic(fresh.new_cdp_session(page))
    page.goto(link)
    expect_watching(page)
    expect(page.locator(".chat")).to_be_visible()
    page.wait_for_load_state("networkidle")
    assert any("/app/watch.js" in asked for asked in traffic.urls)
    assert len(traffic.received) > 15
    assert all(asked.startswith(url + "/") for asked in traffic.urls), traffic.urls
    print(f"first load: {traffic.bytes:.0f} bytes in {len(traffic.received)} answers")
    assert traffic.bytes <= FIRST_LOAD_BYTES_MAX
    # The second time only what may have changed is asked for.
    before, asked = traffic.bytes, len(traffic.urls)
    page.reload()
    expect_watching(page)
    page.wait_for_load_state("networkidle")
    again = traffic.bytes - before
    print(f"second load: {again:.0f} bytes, {len(traffic.urls) - asked} requests")
    assert again < FIRST_LOAD_BYTES_MAX / 5
