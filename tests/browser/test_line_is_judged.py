"""A student's line is judged by what is missing, not by what stands still; reports say it seldom."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page

from tests.browser.test_core_modules import run

pytestmark = [pytest.mark.browser("chromium"), pytest.mark.untimed]

STEP_MS = 2000
SAMPLES_PER_STEP = 96_000
NOTE = """
const quality = new m.Quality();
const readings = x.map(([video, audio]) => quality.note(new Map([["v", video], ["a", audio]])));
return { last: readings.at(-1), first: readings[0], freezes: quality.freezes, frozenMs: quality.frozenMs };
"""


def steps(count: int, video: dict[str, float], audio: dict[str, float]) -> list[Any]:
    """Return a browser's counters at so many looks; the arguments are what each look adds."""
    looks = []
    for number in range(count):
        base = {"type": "inbound-rtp", "timestamp": 1e12 + number * STEP_MS}
        sums = {"packetsReceived": 200, "bytesReceived": 200_000, "packetsLost": 0} | video
        voice = {"packetsReceived": 100, "totalSamplesReceived": SAMPLES_PER_STEP} | audio
        looks.append(
            [
                base | {"kind": "video"} | {key: value * number for key, value in sums.items()},
                base | {"kind": "audio"} | {key: value * number for key, value in voice.items()},
            ]
        )
    return looks


@pytest.mark.parametrize(
    ("video", "audio", "verdict", "reason"),
    [
        ({}, {}, "good", "none"),
        ({"packetsLost": 2}, {}, "good", "none"),
        ({"packetsLost": 20}, {}, "poor", "loss"),
        ({"packetsLost": 60}, {}, "bad", "loss"),
        ({"freezeCount": 1, "totalFreezesDuration": 0.2, "nackCount": 3}, {}, "poor", "frozen"),
        ({"freezeCount": 1, "totalFreezesDuration": 1.0, "nackCount": 3}, {}, "bad", "frozen"),
        # A screen that stands still, or a teacher's pause: nothing was missing.
        ({"freezeCount": 1, "totalFreezesDuration": 1.9}, {}, "good", "none"),
        ({}, {"concealedSamples": 8_000}, "poor", "sound"),
        ({}, {"concealedSamples": 30_000}, "bad", "sound"),
        # Nobody speaks: silence is made up, as it should be.
        ({}, {"concealedSamples": 90_000, "silentConcealedSamples": 90_000}, "good", "none"),
        # A packet that was counted as lost came late.
        ({"packetsLost": -1}, {}, "good", "none"),
    ],
)
def test_what_is_missing_is_judged(
    page: Page, video: dict[str, float], audio: dict[str, float], verdict: str, reason: str
) -> None:
    told = run(page, "quality.js", NOTE, steps(6, video, audio))
    assert told["first"] is None
    assert (told["last"]["verdict"], told["last"]["reason"]) == (verdict, reason)
    frozen_ms = 5000 * video.get("totalFreezesDuration", 0) if reason == "frozen" else 0
    assert told["frozenMs"] == pytest.approx(frozen_ms)
    assert told["freezes"] == (5 if reason == "frozen" else 0)
    assert told["last"]["bitsPerS"] == pytest.approx(800_000)


def test_trouble_is_forgotten_and_another_connection_counts_anew(page: Page) -> None:
    bad = steps(4, {"packetsLost": 80}, {})
    after = steps(9, {}, {})[4:]
    for video, _ in after:
        video["packetsLost"] = 80 * 3
    told = run(page, "quality.js", NOTE, [*bad, *after])
    assert told["last"]["verdict"] == "good"
    fresh = steps(2, {}, {})
    assert run(page, "quality.js", NOTE, [*bad, fresh[0]])["last"] is None
    assert run(page, "quality.js", NOTE, [*bad, *fresh])["last"]["lost"] == 0


REPORT = """
const posts = [];
let now = 0;
const counted = { freezes: 0, frozenMs: 0 };
const reports = new m.Reports(() => counted, { now: () => now, random: () => 0.5, post: r => posts.push(r) });
"""


def test_reports_say_what_is_new_and_are_bounded(page: Page) -> None:
    told = run(
        page,
        "reports.js",
        REPORT
        + """
        reports.open();
        const due = [reports.isDue];
        reports.firstFrame(420.4);
        due.push(reports.isDue);
        now = 20_000;
        const first = reports.take();
        due.push(reports.isDue);
        counted.freezes = 2; counted.frozenMs = 1500.7; now = 60_000;
        due.push(reports.isDue);
        const second = reports.take();
        now += 599_000;
        due.push(reports.isDue);
        now += 2_000;
        due.push(reports.isDue);
        counted.freezes = 1e9; counted.frozenMs = 1e12; now = 1e13;
        reports.close({ closing: true });
        reports.close({ closing: true });
        return { due, first, second, posts };
        """,
    )
    assert told["due"] == [False, True, False, True, False, True]
    assert told["first"] == {
        "first_frame_ms": 420,
        "watched_ms": 20_000,
        "freezes": 0,
        "frozen_ms": 0,
    }
    assert told["second"] == {"watched_ms": 40_000, "freezes": 2, "frozen_ms": 1501}
    assert told["posts"] == [{"watched_ms": 900_000, "freezes": 10_000, "frozen_ms": 900_000}]


def test_a_page_that_never_watched_reports_nothing(page: Page) -> None:
    told = run(page, "reports.js", REPORT + "reports.close({ closing: true }); return posts;")
    assert told == []
