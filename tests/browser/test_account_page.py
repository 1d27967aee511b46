"""A person changes, takes along and deletes the account, by mouse and by keyboard."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.journeys import PASSWORD, Journey, sign_up
from tests.lectern.running import Up

pytestmark = [pytest.mark.browser, pytest.mark.untimed]


def opened(browser: Browser, url: str, role: str = "student") -> tuple[Journey, str]:
    """Sign somebody up; return the dashboard and the e-mail address."""
    journey = Journey.on(browser.new_context(viewport={"width": 1000, "height": 800}))
    page = journey.page
    page.goto(url)
    sign_up(page, role)
    page.wait_for_url("**/dashboard")
    page.locator(".account__name").click()
    expect(page.get_by_role("heading", name="Your account")).to_be_visible()
    email: str = page.evaluate("fetch('/api/me').then(me => me.json()).then(me => me.email)")
    return journey, email


def signed_in_elsewhere(browser: Browser, url: str, email: str) -> Page:
    page = browser.new_context().new_page()
    page.goto(url)
    page.get_by_role("button", name="Sign in").first.click()
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.locator("form button[type=submit]").click()
    page.wait_for_url("**/dashboard")
    return page


def status_of(url: str, token: str) -> int:
    request = urllib.request.Request(url + "/api/me", headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_name_and_role_change_by_keyboard(student_browser: Browser, server: Up) -> None:
    journey, _ = opened(student_browser, server.url)
    page = journey.page
    page.get_by_label("Name", exact=True).focus()
    page.keyboard.press("Control+A")
    page.keyboard.type("Grace Hopper")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowLeft")  # from student to teacher
    page.keyboard.press("Enter")
    expect(page.locator(".account__name")).to_have_text("Grace Hopper")
    page.get_by_role("link", name="Dashboard").press("Enter")
    expect(page.get_by_role("heading", name="Your classes")).to_be_visible()
    assert journey.problems == []


def test_sessions_end_one_by_one_and_by_a_new_password(
    student_browser: Browser, server: Up
) -> None:
    journey, email = opened(student_browser, server.url)
    page = journey.page
    others = [signed_in_elsewhere(student_browser, server.url, email) for _ in range(3)]
    page.reload()
    rows = page.locator(".row", has_text="signed in")
    expect(rows).to_have_count(4)
    expect(rows.filter(has_text="This one")).to_have_count(1)
    rows.get_by_role("button", name="Sign out").first.press("Enter")  # the newest one
    expect(rows).to_have_count(3)
    expect(page.locator(".rows:focus")).to_have_count(1)
    others[2].reload()
    others[2].wait_for_url(re.compile(r"/$"))
    page.get_by_role("button", name="Sign out everywhere else").click()
    expect(rows).to_have_count(1)
    others[1].reload()
    others[1].wait_for_url(re.compile(r"/$"))

    page.get_by_label("New password").fill("short")
    page.get_by_role("button", name="Change password").click()
    assert page.get_by_label("New password").evaluate("field => field.validity.tooShort")
    page.get_by_label("Current password").fill("not this one")
    page.get_by_label("New password").fill("another long one")
    page.get_by_label("New password").press("Enter")
    expect(page.get_by_role("alert").filter(has_text="current password is wrong")).to_be_visible()
    page.get_by_label("Current password").fill(PASSWORD)
    page.get_by_label("New password").fill("password123")
    page.get_by_label("New password").press("Enter")
    expect(page.get_by_role("alert").filter(has_text="too easy to guess")).to_be_visible()
    # Both are masked, and take what a password manager pastes (ASVS 6.2.6, 6.2.7).
    for label in ("Current password", "New password"):
        assert page.get_by_label(label).get_attribute("type") == "password"
    page.get_by_label("New password").fill("")
    page.get_by_label("New password").focus()
    page.keyboard.insert_text("another long one")
    page.get_by_label("New password").press("Enter")
    expect(page.get_by_text("The password is changed.")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="Your account")).to_be_visible()
    assert journey.problems == []


def test_a_token_is_shown_once_works_and_is_revoked(student_browser: Browser, server: Up) -> None:
    journey, _ = opened(student_browser, server.url)
    page = journey.page
    page.get_by_label("Name of the program").fill("OBS <b>")
    page.get_by_label("Name of the program").press("Enter")
    token = page.get_by_label("Access token").input_value()
    assert status_of(server.url, token) == 200
    page.reload()
    expect(page.get_by_text("OBS <b>")).to_be_visible()
    expect(page.get_by_label("Access token")).to_have_count(0)
    page.get_by_role("button", name="Revoke").click()
    expect(page.get_by_text("No tokens.")).to_be_visible()
    assert status_of(server.url, token) == 401
    assert journey.problems == []


def test_the_export_is_downloaded_and_the_account_deleted(
    student_browser: Browser, server: Up, tmp_path: Path
) -> None:
    journey, email = opened(student_browser, server.url, "teacher")
    page = journey.page
    with page.expect_download() as download:
        page.get_by_role("link", name="Download everything").click()
    download.value.save_as(tmp_path / "kept.json")
    assert json.loads((tmp_path / "kept.json").read_text())["account"]["email"] == email
    page.get_by_role("button", name="Delete account").press("Enter")
    expect(page.get_by_role("button", name="Keep it")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Delete account")).to_be_focused()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Delete for good").click()
    page.wait_for_url(re.compile(r"/$"))
    page.goto(server.url + "/dashboard")
    page.wait_for_url(re.compile(r"/$"))


def test_who_sits_in_a_class_is_told_why_nothing_changed(
    student_browser: Browser, server: Up
) -> None:
    journey, _ = opened(student_browser, server.url, "teacher")
    page = journey.page
    page.evaluate("""async () => {
        const post = (path, body) => fetch(path, {method: "POST", body: JSON.stringify(body),
            headers: {"Content-Type": "application/json"}});
        const made = await (await post("/api/classes", {title: "Maths", capacity: 3})).json();
        await post(`/api/classes/${made.id}/start`, {});
    }""")
    page.get_by_role("radio", name="Student").check()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("You are in a class right now.")).to_be_visible()
    page.get_by_role("button", name="Delete account").click()
    page.get_by_role("button", name="Delete for good").click()
    expect(page.get_by_text("You are in a class right now.")).to_have_count(2)
    assert journey.problems == []


def test_the_api_page_shows_every_operation(student_browser: Browser, server: Up) -> None:
    journey = Journey.on(student_browser.new_context())
    page = journey.page
    fetched: list[str] = []
    page.on("request", lambda request: fetched.append(request.url))
    page.goto(server.url + "/api/docs")
    expect(page.get_by_role("heading", name="Lectern API")).to_be_visible()
    document = page.evaluate("fetch('/api/openapi.json').then(answer => answer.json())")
    operations = [m for item in document["paths"].values() for m in item if m != "parameters"]
    assert page.locator("details.docs__operation[id]").count() == len(operations) > 30
    page.locator("#createClass summary").press("Enter")
    expect(page.locator("#createClass").get_by_text("not_teacher")).to_be_visible()
    assert all(url.startswith(server.url) for url in fetched)
    assert journey.problems == []


def test_signing_out_is_in_sight_and_leaves_nothing(student_browser: Browser, server: Up) -> None:
    journey, email = opened(student_browser, server.url, "teacher")
    page, context = journey.page, journey.page.context
    page.evaluate("sessionStorage.setItem('shared', 'screen')")
    made = page.evaluate("""async () => (await (await fetch("/api/classes", {method: "POST",
        body: JSON.stringify({title: "Maths", capacity: 3}),
        headers: {"Content-Type": "application/json"}})).json()).id""")
    for path in ("/dashboard", "/account", f"/classes/{made}", f"/teach/{made}"):
        page.goto(server.url + path)
        expect(page.locator("header").get_by_role("button", name="Sign out")).to_be_visible()
    page.goto(server.url + "/account")
    page.locator("header").get_by_role("button", name="Sign out").click()
    page.wait_for_url(re.compile(r"/$"))
    assert [c["name"] for c in context.cookies() if "session" in str(c.get("name"))] == []
    left = page.evaluate("JSON.stringify([{...sessionStorage}, {...localStorage}])")
    assert json.loads(left)[0] == {} and email not in left
    page.go_back()
    page.wait_for_url(re.compile(r"/$"))  # there is nothing to go back to
    expect(page.get_by_text(email)).to_have_count(0)
    assert journey.problems == []
