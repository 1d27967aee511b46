"""Pictures of every page state for a person to look at, and what a program can see in them."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.layout import spilled
from tests.browser.states import World
from tests.lectern.running import ROOT, Up

pytestmark = [pytest.mark.browser("chromium"), pytest.mark.long]

SCREENS = ROOT / "artifacts" / "screens"
WIDTHS = (360, 768, 1440)


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
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900 if width > 400 else 740})
            for theme in ("light", "dark"):
                page.emulate_media(color_scheme=theme)
                page.screenshot(path=folder / f"{state.name}-{width}-{theme}.png", full_page=True)
            found += [f"{state.name} at {width}: {element}" for element in spilled(page)]
        page.close()
    assert found == []
    assert len(list(Path(folder).glob("*.png"))) >= len(world.states()) * len(WIDTHS) * 2
