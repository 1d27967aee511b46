"""What teachers and students do on the pages, by clicks and keys only."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import BrowserContext, Page, expect

PASSWORD = "correct horse battery"
STUDENT_STATE = ".stage--watch"
TEACHER_STATE = ".connection"
NOTE_STATES = """selector => {
  globalThis.states = [];
  const element = document.querySelector(selector);
  const note = (at_ms) => states.push({
    name: element.dataset.state,
    said: document.querySelector(".stage__banner")?.textContent,
    at_ms,
  });
  new MutationObserver(() => {
    const at_ms = Date.now();
    queueMicrotask(() => note(at_ms));
  }).observe(element, { attributes: true, attributeFilter: ["data-state"] });
}"""
_numbers = itertools.count(1)


@dataclass
class Journey:
    """A page and what went past it: console errors and the session requests it made."""

    page: Page
    problems: list[str] = field(default_factory=list)
    offers: list[str] = field(default_factory=list)  # URLs that an SDP offer was posted to
    locations: list[str] = field(default_factory=list)  # of the sessions that were made
    leaves: list[str] = field(default_factory=list)  # DELETEs
    reports: list[Any] = field(
        default_factory=list
    )  # how watching was, as the page tells the server
    restarts: list[int] = field(default_factory=list)  # what ICE restarts were answered with

    @classmethod
    def on(cls, context: BrowserContext) -> Journey:
        journey = cls(context.new_page())
        page = journey.page
        page.on("pageerror", lambda error: journey.problems.append(f"error: {error}"))
        page.on(
            "console",
            lambda message: (
                journey.problems.append(f"console: {message.text}")
                if message.type == "error" and "Failed to load resource" not in message.text
                else None
            ),
        )
        page.on("request", journey._note_request)
        page.on("response", journey._note_response)
        return journey

    def _note_request(self, request: object) -> None:
        method, url = request.method, request.url  # type: ignore[attr-defined]
        if url.endswith("/live/reports"):
            self.reports.append(request.post_data_json)  # type: ignore[attr-defined]
        elif "/live/" in url and method == "POST":
            self.offers.append(url)
        if "/live/" in url and method == "DELETE":
            self.leaves.append(url)

    def _note_response(self, response: object) -> None:
        if response.request.method == "POST" and "/live/" in response.url:  # type: ignore[attr-defined]
            location = response.headers.get("location")  # type: ignore[attr-defined]
            if location is not None:
                self.locations.append(location)
        if response.request.method == "PATCH" and "/live/" in response.url:  # type: ignore[attr-defined]
            self.restarts.append(response.status)  # type: ignore[attr-defined]

    def connections(self) -> list[str]:
        """Return the states of all connections that the page has made since it was loaded."""
        states: list[str] = self.page.evaluate("connections.map(pc => pc.connectionState)")
        return states


def sign_up(page: Page, role: str, name: str | None = None) -> str:
    """Fill in the card that is in sight; return the name."""
    number = next(_numbers)
    name = name or f"{role} {number}"
    page.get_by_label("Name").fill(name)
    page.get_by_label("Email").fill(f"{role}{number}@example.org")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("radio", name=role.capitalize()).check()
    page.locator("form button[type=submit]").click()
    return name


def teacher_creates_class(
    context: BrowserContext, url: str, *, title: str = "Algebra", capacity: int = 20
) -> tuple[Journey, str]:
    """Sign up as a teacher and create a class; return its page, not started, and its link."""
    journey = Journey.on(context)
    page = journey.page
    page.goto(url)
    sign_up(page, "teacher")
    page.wait_for_url("**/dashboard")
    page.get_by_label("Title").fill(title)
    page.get_by_label("Places").fill(str(capacity))
    page.get_by_role("button", name="Create class").click()
    page.wait_for_url("**/teach/*")
    link = page.get_by_label("Student link").input_value()
    return journey, link


def start_class(page: Page) -> None:
    """Start the class and wait until the teacher's connection stands."""
    page.get_by_role("button", name="Start class").click()
    expect_live(page)


def expect_live(page: Page) -> None:
    expect(page.locator(".connection[data-state=connected]")).to_be_visible(timeout=15_000)


def share(page: Page) -> None:
    """Share the source tab; which one is fixed by the browser's command line."""
    page.get_by_role("button", name="Share").first.click()
    expect(page.locator(".stage--preview video")).to_be_visible()


def note_states(page: Page, selector: str) -> None:
    """Write down the states of the page's connection from now on: some last shorter than a look takes."""
    page.evaluate(NOTE_STATES, selector)


def noted_states(page: Page) -> list[dict[str, Any]]:
    """Return [{name, said (on the picture), at_ms (of the system's clock)}] since `note_states`."""
    states: list[dict[str, Any]] = page.evaluate("states")
    return states


def wait_for_states(page: Page, wanted: list[str], timeout_s: float) -> None:
    """Wait until exactly these states have been noted."""
    deadline = time.monotonic() + timeout_s
    # Not wait_for_function: the page's policy forbids the eval that it is made of.
    while (seen := [state["name"] for state in noted_states(page)]) != wanted:
        assert time.monotonic() < deadline, f"states: {seen}"
        page.wait_for_timeout(50)


def turn_mic_on(page: Page) -> None:
    page.get_by_role("button", name="Turn mic on").click()
    expect(page.get_by_role("button", name="Turn mic off")).to_be_visible()


def student_opens(context: BrowserContext, link: str) -> Journey:
    """Open the class link as somebody new and sign up there."""
    journey = Journey.on(context)
    journey.page.goto(link)
    sign_up(journey.page, "student")
    return journey


def expect_watching(page: Page) -> None:
    expect(page.locator(".stage--watch[data-state=connected]")).to_be_visible(timeout=15_000)


def write(page: Page, text: str) -> None:
    page.get_by_label("Write a comment").fill(text)
    page.keyboard.press("Enter")


def expect_said(page: Page, texts: list[str], timeout_s: float = 10.0) -> None:
    """Wait until exactly these comments stand on the page, in this order."""
    expect(page.locator(".chat__said")).to_have_text(texts, timeout=timeout_s * 1000)


def show_people(page: Page) -> None:
    page.get_by_role("tab", name="People").click()


def expect_people(page: Page, states: dict[str, str], timeout_s: float = 10.0) -> None:
    """Wait until exactly these people are listed, each once, `here` or `away`."""
    wanted = sorted(states.items())
    deadline = time.monotonic() + timeout_s
    while (seen := page.evaluate(LISTED)) != [list(one) for one in wanted]:
        assert time.monotonic() < deadline, f"people: {seen}"
        page.wait_for_timeout(50)


LISTED = """[...document.querySelectorAll(".person")]
  .map(one => [one.querySelector(".person__name").textContent, one.dataset.state])
  .sort((a, b) => a[0] < b[0] ? -1 : 1)"""


def expect_count(page: Page, count: int, timeout_s: float) -> None:
    """Wait until the page says that so many students are there."""
    what = "1 student" if count == 1 else f"{count} students"
    expect(page.locator(".bar .count")).to_contain_text(what, timeout=timeout_s * 1000)
