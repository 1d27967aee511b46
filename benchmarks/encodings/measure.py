"""Plays the combinations in one Chromium and reads its counters."""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from benchmarks.registry import BenchmarkError
from benchmarks.report import Report, Row
from tests.browser.browsers import (
    READER,
    chromium_context,
    launch_teacher,
    open_source,
    write_mic,
)
from tests.browser.conftest import serve_source

SEND = (Path(__file__).parent / "send.js").read_text()
LOOKS_PER_S = 4


def measure(
    chosen: Mapping[str, Sequence[str]], options: argparse.Namespace, report: Report
) -> None:
    """Add a row for each combination."""
    with (
        tempfile.TemporaryDirectory(prefix="lectern-encodings-") as directory,
        sync_playwright() as playwright,
        serve_source() as url,
    ):
        browser = launch_teacher(playwright, write_mic(Path(directory) / "mic.wav"))
        context = chromium_context(browser)
        context.add_init_script(READER)
        open_source(context, url, options=f"&fps={options.fps}&text")
        page = context.new_page()
        page.goto(f"{url}/blank.html")
        page.bring_to_front()
        page.evaluate(SEND)
        page.evaluate("encodings.capture()")
        for codec, hint, mode in itertools.product(
            chosen["codecs"], chosen["hints"], chosen["modes"]
        ):
            row = _one(page, {"codec": codec, "mode": mode, "hint": hint}, options)
            report.add_row("encodings", row)
            report.say(", ".join(f"{name} {value}" for name, value in row.items()))
        browser.close()


def _one(page: Page, asked: dict[str, str], options: argparse.Namespace) -> Row:
    page.evaluate("asked => encodings.connect(asked)", asked)
    page.wait_for_timeout(options.warm_up * 1000)
    looks: list[dict[str, Any]] = [page.evaluate("encodings.look()")]
    for _ in range(round(options.seconds * LOOKS_PER_S)):
        page.wait_for_timeout(1000 / LOOKS_PER_S)
        looks.append(page.evaluate("encodings.look()"))
    first, last = looks[0], looks[-1]
    if last["codec"] != asked["codec"]:
        raise BenchmarkError(f"{asked['codec']} was asked for, and {last['codec']} was sent.")
    sent, received = (
        _gained(first["sent"], last["sent"]),
        _gained(first["received"], last["received"]),
    )
    seconds = (last["sent"]["timestamp"] - first["sent"]["timestamp"]) / 1000
    right = [one["text"]["right"] for one in looks if "right" in one["text"]]
    reasons = [one["sent"].get("qualityLimitationReason", "none") for one in looks]
    frames = max(1, sent("framesEncoded"))
    return {
        "codec": asked["codec"],
        "hint": asked["hint"],
        "asked": asked["mode"],
        "mode": last["sent"].get("scalabilityMode", "-"),
        "fps": round(received("framesDecoded") / seconds, 1),
        "kbit_s": round(sent("bytesSent") * 8 / 1000 / seconds),
        "encode_ms": round(1000 * sent("totalEncodeTime") / frames, 1),
        "quantiser": round(sent("qpSum") / frames, 1),
        "text_right_percent": round(100 * sum(right) / len(right)) if right else None,
        "limited": max(set(reasons), key=reasons.count),
    }


def _gained(first: dict[str, Any], last: dict[str, Any]) -> Any:
    return lambda name: last.get(name, 0) - first.get(name, 0)
