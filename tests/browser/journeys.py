"""What teachers and students do on the pages, by clicks and keys only."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from playwright.sync_api import BrowserContext, Page, expect

PASSWORD = "correct horse battery"
_numbers = itertools.count(1)


@dataclass
class Journey:
    """A page and what went past it: console errors and the session requests it made."""

    page: Page
    problems: list[str] = field(default_factory=list)
    offers: list[str] = field(default_factory=list)  # URLs that an SDP offer was posted to
    locations: list[str] = field(default_factory=list)  # of the sessions that were made
    leaves: list[str] = field(default_factory=list)  # DELETEs

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
        if "/live/" in url and method == "POST":
            self.offers.append(url)
        if "/live/" in url and method == "DELETE":
            self.leaves.append(url)

    def _note_response(self, response: object) -> None:
        if response.request.method == "POST" and "/live/" in response.url:  # type: ignore[attr-defined]
            location = response.headers.get("location")  # type: ignore[attr-defined]
            if location is not None:
                self.locations.append(location)

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
