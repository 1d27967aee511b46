"""Pictures of every page state for a person to look at, and what a program can see in them."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.layout import spilled
from tests.browser.live_states import Classroom
from tests.browser.states import World
from tests.browser.test_pages_are_accessible import COLOURS, violations
from tests.lectern.running import ROOT, Up

pytestmark = [pytest.mark.browser("chromium"), pytest.mark.long]

SCREENS = ROOT / "artifacts" / "screens"
WIDTHS = (360, 768, 1440)


def pictured(page: Page, folder: Path, name: str) -> list[str]:
    """Take pictures in every width and theme; return what lies outside its place."""
    found = []
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900 if width > 400 else 740})
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)
            page.screenshot(path=folder / f"{name}-{width}-{theme}.png", full_page=True)
        found += [f"{name} at {width}: {element}" for element in spilled(page)]
    return found


@pytest.mark.parametrize("language", ["en", "de"])
def test_every_state_is_pictured_and_nothing_spills(
    server: Up, student_browser: Browser, language: str
) -> None:
    world = World(server, student_browser, language)
    folder = SCREENS / language
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for state in world.states():
        page = state.open(world)
        found += pictured(page, folder, state.name)
        page.close()
    assert found == []
    assert len(list(Path(folder).glob("*.png"))) >= len(world.states()) * len(WIDTHS) * 2


@pytest.mark.timeout(600)
@pytest.mark.parametrize("language", ["en", "de"])
def test_every_live_state_is_pictured_accessible_and_in_its_place(
    server: Up, teacher_browser: Browser, student_browser: Browser, source_url: str, language: str
) -> None:
    world = World(server, student_browser, language)
    classroom = Classroom.of(world, teacher_browser, student_browser, source_url)
    folder = SCREENS / language
    folder.mkdir(parents=True, exist_ok=True)
    found, names = [], set()
    for name, page in classroom.states():
        page.bring_to_front()
        found += pictured(page, folder, name)
        # The last picture was in the dark, at full width.
        found += [f"{name}, dark: {rule}" for rule in violations(page)]
        page.emulate_media(color_scheme="light")
        page.set_viewport_size({"width": 360, "height": 740})
        found += [f"{name}, a phone, light: {rule}" for rule in violations(page, COLOURS)]
        page.set_viewport_size({"width": 1440, "height": 900})
        names.add(name)
    assert found == []
    assert classroom.problems() == []
    assert len(names) == 25
