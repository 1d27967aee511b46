"""Each way of not getting in has its own sentence, and the next step where there is one."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.browsers import chromium_context
from tests.browser.journeys import (
    Journey,
    expect_live,
    expect_watching,
    sign_up,
    start_class,
    student_opens,
    teacher_creates_class,
)
from tests.lectern.running import Up

pytestmark = [pytest.mark.browser("chromium"), pytest.mark.untimed]


@pytest.fixture
def url(server: Up) -> str:
    return server.url.replace("127.0.0.1", "localhost")


def started_class(browser: Browser, url: str, **options: object) -> tuple[Journey, str]:
    teacher, link = teacher_creates_class(chromium_context(browser), url, **options)  # type: ignore[arg-type]
    start_class(teacher.page)
    return teacher, link


def title(page: Page, text: str) -> None:
    expect(page.get_by_role("heading", name=text)).to_be_visible(timeout=10_000)


def test_dead_link(student_browser: Browser, url: str) -> None:
    page = chromium_context(student_browser).new_page()
    page.goto(f"{url}/c/bm90IGEgbGluayBhdCBhbGw")
    title(page, "This link does not lead to a class")
    expect(page.get_by_text("Ask your teacher for the current link")).to_be_visible()


@pytest.mark.parametrize("forged", ["x", "%2e%2e%2f", "a" * 4000, "%3Cscript%3E", "%00"])
def test_forged_link(student_browser: Browser, url: str, forged: str) -> None:
    page = chromium_context(student_browser).new_page()
    page.goto(f"{url}/c/{forged}")
    title(page, "This link does not lead to a class")


def test_full_class_lets_in_who_waits(student_browser: Browser, url: str) -> None:
    _, link = started_class(student_browser, url, capacity=1)
    first = student_opens(chromium_context(student_browser), link)
    expect_watching(first.page)
    second = student_opens(chromium_context(student_browser), link)
    title(second.page, "This class is full")
    expect(second.page.get_by_text("The only place is taken")).to_be_visible()
    first.page.get_by_role("button", name="Leave").click()
    title(first.page, "You left the class")
    expect_watching(second.page)


def test_own_class_leads_to_the_teachers_page(student_browser: Browser, url: str) -> None:
    teacher, link = started_class(student_browser, url)
    page = teacher.page.context.new_page()
    page.goto(link)
    title(page, "This is your own class")
    page.get_by_role("link", name="Open your class").click()
    # The older of the two teacher's pages is told, and stays quiet.
    expect_live(page)
    title(teacher.page, "taught from another tab or device")


def test_end_is_told_to_everybody(student_browser: Browser, url: str) -> None:
    teacher, link = started_class(student_browser, url)
    student = student_opens(chromium_context(student_browser), link)
    expect_watching(student.page)
    teacher.page.get_by_role("button", name="End class").click()
    teacher.page.get_by_role("dialog").get_by_role("button", name="End class").click()
    title(teacher.page, "This class has ended")
    title(student.page, "This class has ended")
    # And to who comes later.
    late = chromium_context(student_browser).new_page()
    late.goto(link)
    title(late, "This class has ended")
    assert student.problems == []
    assert len(student.offers) == 1


def test_second_class_is_refused_until_the_first_is_left(
    student_browser: Browser, url: str
) -> None:
    _, first_link = started_class(student_browser, url, title="Physics")
    _, second_link = started_class(student_browser, url, title="History")
    student = student_opens(chromium_context(student_browser), first_link)
    expect_watching(student.page)
    other = student.page.context.new_page()
    other.goto(second_link)
    title(other, "You are in another class right now")
    expect(other.get_by_text("You are in “Physics” right now")).to_be_visible()
    other.get_by_role("button", name="Leave that class and join this one").click()
    expect_watching(other)
    # The older page says where it went, and does not fight for the place.
    title(student.page, "You are watching somewhere else")
    student.page.wait_for_timeout(3000)
    expect(other.locator(".stage--watch[data-state=connected]")).to_be_visible()


def test_who_teaches_is_led_back_to_the_own_class(student_browser: Browser, url: str) -> None:
    teacher, _ = started_class(student_browser, url, title="Physics")
    _, second_link = started_class(student_browser, url, title="History")
    page = teacher.page.context.new_page()
    page.goto(second_link)
    title(page, "You are teaching right now")
    expect(page.get_by_text("“Physics” goes on with you in it")).to_be_visible()
    way_back = page.get_by_role("link", name="Open your class")
    assert (way_back.get_attribute("href") or "") in teacher.page.url


def test_second_tab_replaces_the_first_once(student_browser: Browser, url: str) -> None:
    _, link = started_class(student_browser, url)
    student = student_opens(chromium_context(student_browser), link)
    expect_watching(student.page)
    second = Journey.on(student.page.context)
    second.page.goto(link)
    expect_watching(second.page)
    title(student.page, "You are watching somewhere else")
    student.page.wait_for_timeout(3000)
    assert len(student.offers) == 1
    assert len(second.offers) == 1
    student.page.get_by_role("button", name="Watch here instead").click()
    expect_watching(student.page)
    title(second.page, "You are watching somewhere else")


def test_wrong_password_and_taken_email(student_browser: Browser, url: str) -> None:
    page = chromium_context(student_browser).new_page()
    page.goto(url)
    sign_up(page, "teacher", "Ada")
    page.wait_for_url("**/dashboard")
    page.get_by_role("button", name="Sign out", exact=True).click()
    page.wait_for_url(re.compile(r"/$"))
    page.get_by_role("button", name="Sign in").first.click()
    page.get_by_label("Email").fill("nobody@example.org")
    page.get_by_label("Password").fill("not the password")
    page.locator("form button[type=submit]").click()
    expect(page.get_by_role("alert")).to_contain_text("Email or password is wrong")


def test_denied_microphone_is_explained(teacher_browser: Browser, url: str) -> None:
    teacher, _ = started_class(teacher_browser, url)
    teacher.page.get_by_role("button", name="Turn mic on").click()
    expect(teacher.page.get_by_text("The browser did not allow it")).to_be_visible()


def test_missing_microphone_is_explained(student_browser: Browser, url: str) -> None:
    context = chromium_context(student_browser, permissions=["microphone"])
    teacher, _ = teacher_creates_class(context, url)
    start_class(teacher.page)
    teacher.page.get_by_role("button", name="Turn mic on").click()
    expect(teacher.page.get_by_text("No microphone was found")).to_be_visible()


def test_sound_that_waits_for_a_click(student_browser: Browser, url: str) -> None:
    _, link = started_class(student_browser, url)
    student = student_opens(chromium_context(student_browser), link)
    expect_watching(student.page)
    page = _untouched_page(student.page.context, link)
    unmute = page.get_by_role("button", name="Turn sound on")
    expect(unmute).to_be_visible()
    unmute.click()
    expect(unmute).to_be_hidden()


def _untouched_page(context: BrowserContext, link: str) -> Page:
    """Open the link and let the page join without looking at it.

    Playwright's looking is an `evaluate`, which a browser takes for a click: whoever looks too early
    allows the very sound that is to be refused.
    """
    page = context.new_page()
    with page.expect_response(lambda response: "/whep" in response.url, timeout=15_000):
        page.goto(link)
    page.wait_for_timeout(2000)
    return page
