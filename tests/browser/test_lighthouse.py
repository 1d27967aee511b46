"""Lighthouse's judgement of the two pages that people see first, on its slow phone."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.browsers import CHROMIUM, CHROMIUM_ARGS, chromium_context
from tests.browser.journeys import teacher_creates_class
from tests.lectern.running import ROOT, Up

pytestmark = [pytest.mark.browser("chromium", "npm"), pytest.mark.long]

LIGHTHOUSE = ROOT / "node_modules" / ".bin" / "lighthouse"
CATEGORIES = ("performance", "accessibility", "best-practices")
SCORE_MIN = 0.95
# Performance is a simulation from one load, and a busy machine makes that load slower, never faster.
TRIES = 3


def scores(url: str, report: Path) -> dict[str, float]:
    """Return the score of each category, 0 to 1; the report is kept for a person to read."""
    done = subprocess.run(
        [
            str(LIGHTHOUSE),
            url,
            "--quiet",
            "--output=json",
            f"--output-path={report}",
            f"--only-categories={','.join(CATEGORIES)}",
            f"--chrome-flags=--headless=new {' '.join(CHROMIUM_ARGS)}",
        ],
        env={**os.environ, "CHROME_PATH": CHROMIUM},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(report.read_text())
    assert "runtimeError" not in found, found["runtimeError"]
    return {name: found["categories"][name]["score"] for name in CATEGORIES}


def best(url: str, report: Path) -> dict[str, float]:
    """Return the best score of each category, trying again only while one is too low."""
    reached = dict.fromkeys(CATEGORIES, 0.0)
    for _ in range(TRIES):
        got = scores(url, report)
        reached = {name: max(reached[name], got[name]) for name in CATEGORIES}
        if min(reached.values()) >= SCORE_MIN:
            break
    print(url, reached)
    return reached


@pytest.mark.parametrize("page", ["landing", "join"])
def test_first_pages_are_fast_and_sound(server: Up, student_browser: Browser, page: str) -> None:
    url = server.url.replace("127.0.0.1", "localhost")
    if page == "join":
        _, url = teacher_creates_class(chromium_context(student_browser), url)
    folder = ROOT / "artifacts" / "lighthouse"
    folder.mkdir(parents=True, exist_ok=True)
    reached = best(url, folder / f"{page}.json")
    assert min(reached.values()) >= SCORE_MIN, reached
