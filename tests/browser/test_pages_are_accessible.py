"""No state of the pages shuts anybody out: axe-core finds nothing, and the keyboard reaches all."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.browser.layout import spilled
from tests.browser.states import State, World
from tests.lectern.running import Up

pytestmark = [pytest.mark.browser("chromium"), pytest.mark.untimed]

# What the short run looks at; the long one takes every state, in both themes.
FIRST_STATES = (
    "landing",
    "dashboard-teacher",
    "class-ended",
    "account",
    "operator",
    "link-sign-up",
)
# The rules that depend on the theme.
COLOURS = {"runOnly": ["color-contrast", "link-in-text-block"]}


@pytest.fixture(scope="module")
def world(server: Up, student_program: Browser) -> World:
    return World(server, student_program)


def violations(page: Page, options: dict[str, Any] | None = None) -> list[str]:
    """Return the broken rules, each with the elements that break it."""
    results = Axe().run(page, options=options)
    return [
        f"{rule['id']}: {[node['target'] for node in rule['nodes']]}"
        for rule in results.response["violations"]
    ]


def inspected(world: World, states: list[State], *, themes: tuple[str, ...]) -> list[str]:
    """Return what is wrong with these states on a phone."""
    found = []
    for state in states:
        page = state.open(world)
        page.set_viewport_size({"width": 360, "height": 740})
        found += [f"{state.name}: {element}" for element in spilled(page)]
        for number, theme in enumerate(themes):
            page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
            rules = violations(page, COLOURS if number else None)
            found += [f"{state.name}, {theme}: {rule}" for rule in rules]
        page.close()
    return found


def test_axe_finds_nothing_and_a_phone_shows_all(world: World) -> None:
    states = [state for state in world.states() if state.name in FIRST_STATES]
    assert len(states) == len(FIRST_STATES)
    assert inspected(world, states, themes=("light",)) == []


@pytest.mark.long
def test_axe_finds_nothing_in_any_state_and_theme(world: World) -> None:
    assert inspected(world, world.states(), themes=("light", "dark")) == []


def test_axe_would_find_something(world: World) -> None:
    page = world.contexts["stranger"].new_page()
    page.goto(world.url)
    expect(page.locator(".card--sign")).to_be_visible()
    page.evaluate("""() => {
        document.querySelector("input").removeAttribute("placeholder");
        document.querySelector(".field__label").remove();
        document.documentElement.lang = "";
    }""")
    found = " ".join(violations(page))
    assert "html-has-lang" in found
    assert "label" in found
    page.close()


def test_still_pages_for_those_who_want_them(world: World) -> None:
    page = world.contexts["student"].new_page()
    page.emulate_media(reduced_motion="reduce")
    page.goto(f"{world.url}/c/{world.token(world.created)}")
    spinner = page.locator(".spinner")
    expect(spinner).to_be_visible()
    assert spinner.evaluate("e => getComputedStyle(e).animationDuration") == "4s"
    page.close()


def test_the_first_tab_skips_the_bar(world: World) -> None:
    page = world.contexts["teacher"].new_page()
    page.goto(world.url + "/dashboard")
    expect(page.locator(".table__row").first).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.querySelector('main').contains(document.activeElement)")
    page.close()
