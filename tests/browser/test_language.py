"""The pages speak their reader's language: the browser's at first, then the one that was chosen."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.journeys import Journey
from tests.lectern.running import Up

pytestmark = [pytest.mark.browser("chromium"), pytest.mark.untimed]


def test_the_browsers_language_comes_first_and_a_choice_stays(
    student_browser: Browser, server: Up
) -> None:
    journey = Journey.on(student_browser.new_context(locale="de-AT"))
    page = journey.page
    page.goto(server.url)
    expect(page.get_by_role("button", name="Konto anlegen").first).to_be_visible()
    assert page.evaluate("document.documentElement.lang") == "de"
    page.get_by_role("button", name="English").press("Enter")
    expect(page.get_by_role("button", name="Create account").first).to_be_visible()
    expect(page.get_by_role("button", name="English")).to_have_attribute("aria-pressed", "true")
    page.goto(f"{server.url}/c/bm90IGEgbGluayBhdCBhbGw")
    expect(page.get_by_role("heading", name="This link does not lead to a class")).to_be_visible()
    assert journey.problems == []
