"""An operator sees nodes and classes as they come and go; nobody else sees the page."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.attended import connection
from tests.browser.journeys import Journey, sign_up
from tests.lectern.running import Up

pytestmark = [pytest.mark.browser, pytest.mark.untimed]


def opened(browser: Browser, server: Up) -> Journey:
    """Sign a teacher up who is an operator; return the operator's page."""
    journey = Journey.on(browser.new_context(viewport={"width": 1100, "height": 800}))
    page = journey.page
    page.goto(server.url)
    sign_up(page, "teacher")
    page.wait_for_url("**/dashboard")
    expect(page.get_by_role("link", name="Server", exact=True)).to_have_count(0)
    account_id = page.evaluate("fetch('/api/me').then(me => me.json()).then(me => me.id)")
    with connection(server) as sql:
        sql.execute("UPDATE account SET is_operator = true WHERE account_id = %s", (account_id,))
    page.reload()
    page.get_by_role("link", name="Server", exact=True).click()
    expect(page.get_by_role("heading", name="Server")).to_be_visible()
    return journey


def begin_class(page: Page, title: str) -> str:
    made: str = page.evaluate(
        """async title => {
            const post = (path, body) => fetch(path, {method: "POST", body: JSON.stringify(body),
                headers: {"Content-Type": "application/json"}});
            const made = await (await post("/api/classes", {title, capacity: 3})).json();
            await post(`/api/classes/${made.id}/start`, {});
            return made.id;
        }""",
        title,
    )
    return made


def test_nodes_and_classes_come_and_go_by_themselves(student_browser: Browser, server: Up) -> None:
    journey = opened(student_browser, server)
    page = journey.page
    expect(page.get_by_role("row").filter(has_text="serving")).to_have_count(1)
    title = "Geometry <b>of Δ"
    row = page.get_by_role("row").filter(has_text=title)
    expect(row).to_have_count(0)
    class_id = begin_class(page, title)
    expect(row).to_be_visible(timeout=15_000)  # without a reload
    expect(row).to_contain_text("0 of 3")
    expect(row).to_contain_text(class_id)

    page.get_by_label("A part of the title, or the id").fill("OF δ")
    page.get_by_label("A part of the title, or the id").press("Enter")
    expect(page.get_by_text("Found: 1.")).to_be_visible()
    page.get_by_label("A part of the title, or the id").fill(class_id.upper())
    page.get_by_role("button", name="Search").click()
    expect(row).to_be_visible()
    page.get_by_label("A part of the title, or the id").fill("nothing of the kind")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_text("No live class has this")).to_be_visible()
    page.get_by_role("button", name="Show the fullest").press("Enter")
    expect(row).to_be_visible()
    page.evaluate("id => fetch(`/api/classes/${id}/end`, {method: 'POST'})", class_id)
    expect(row).to_have_count(0, timeout=15_000)
    assert journey.problems == []


def test_a_look_that_fails_is_said_and_what_was_seen_stays(
    student_browser: Browser, server: Up
) -> None:
    journey = opened(student_browser, server)
    page = journey.page
    page.route("**/api/operator", lambda route: route.abort())
    expect(page.get_by_text(re.compile("Not renewed since"))).to_be_visible(timeout=15_000)
    expect(page.get_by_role("row").filter(has_text="serving")).to_have_count(1)
    page.unroute("**/api/operator")
    expect(page.get_by_text(re.compile("As of .* renewed by itself"))).to_be_visible(timeout=15_000)
    assert journey.problems == []


def test_others_are_refused_and_strangers_sign_in_first(
    student_browser: Browser, server: Up
) -> None:
    journey = Journey.on(student_browser.new_context())
    page = journey.page
    page.goto(server.url + "/operator")
    expect(page.get_by_role("heading", name="Nodes")).to_have_count(0)
    sign_up(page, "student")
    expect(page.get_by_text("Only who runs this server sees this page.")).to_be_visible()
    assert journey.problems == []
