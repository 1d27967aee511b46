"""Plays the rows at one site and writes down what came of them."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from playwright.sync_api import Page

from benchmarks import native
from benchmarks.children import Child
from benchmarks.lines import measured, sites
from benchmarks.lines.measured import Figures, Times
from benchmarks.lines.rows import FPS, ONE_WAY_S, SAME_CONNECTION, Act, Row
from benchmarks.report import Report
from tests.browser import codecs, signals

# The encoder has found its rate, and the estimate of the student's line as well.
SETTLE_S = 4.0
# A page's own reading of its last counters, and pictures that were on their way.
JOIN_TIMEOUT_S = 35.0
PLAY_TIMEOUT_S = 30.0
NEVER_OPENED = 1_000_000_000


def play(name: str, rows: list[Row], options: argparse.Namespace, report: Report) -> None:
    """Open a class of this site, and let its students watch on each line in turn."""
    generator = native.load_generator(report) if any(row.native for row in rows) else None
    with sites.SITES[name](options.seed) as site:
        if name == "lectern" and options.codec != "VP8":
            codecs.choose(site.teacher, options.codec)
        site.link.set_both(delay_s=ONE_WAY_S)
        for row in rows:
            with ExitStack() as stack:
                crowd = None
                if row.native:
                    assert generator is not None
                    crowd = stack.enter_context(_crowd(site, row, str(generator)))
                found = _play(site, row, crowd)
            report.say(f"{name} {row.name}: {_told(found)}")
            report.add_row(name, {"row": row.name, **found})
            if name == "lectern":
                for what, holds in (*row.musts, SAME_CONNECTION):
                    report.expect(f"{row.name}: {what}", holds(found))


@contextmanager
def _crowd(site: sites.Site, row: Row, generator: str) -> Iterator[Child]:
    address, lines = site.native(row.native)
    with Child("load generator", [generator]) as child:
        # What it teaches goes to nobody; it is there to count, and frames are its clock.
        load = (
            f"load fps={FPS} packets=1 bytes=200 spread_us=0 feedback_ms=100"
            f" open_every={NEVER_OPENED}"
        )
        child.tell("\n".join([f"node {address}:9", load, *lines, "ready", "join", ""]))
        child.hear("joined", within_s=JOIN_TIMEOUT_S)
        yield child


def _play(site: sites.Site, row: Row, crowd: Child | None) -> Figures:
    pages = [site.student() for _ in range(row.students)]
    for page in pages:
        signals.install(page)
        signals.wait_for_motion(page, steps=5, timeout_s=20)
    time.sleep(SETTLE_S)
    asked = sites.asked(site)
    for page in pages:
        page.evaluate(sites.WATCH)
        page.evaluate("watched.look()")
    if crowd is not None:
        crowd.tell(f"play {round(row.seconds * FPS)}\n")
        crowd.hear("begun", within_s=JOIN_TIMEOUT_S)
    before_us = _pressure_us()
    times = _act(site, row)
    pressure = 100 * (_pressure_us() - before_us) / 1e6 / row.seconds
    noted = [page.evaluate("watched.stop()") for page in pages]
    students = [
        measured.figures(one["pictures"], one["counters"], times, site.mic(page))
        for one, page in zip(noted, pages, strict=True)
    ]
    found = measured.worst(students)
    found["rejoins"] = max(site.rejoins(page) for page in pages)
    cost = sites.asked(site) - asked
    found["keyframes_asked"], found["keyframes_per_5s"] = cost, cost * 5 / row.seconds
    found["pressure_percent"] = pressure
    found["others_missing"] = found["others_gap_ms"] = None
    if crowd is not None:
        played = crowd.hear("played", within_s=PLAY_TIMEOUT_S)
        found["others_missing"] = played["packets_missing"]
        found["others_gap_ms"] = played["gap_us_max"] / 1000
    _close(pages)
    return found


def _act(site: sites.Site, row: Row) -> Times:
    """Treat the line as the row says; return when what happened, on the machine's clock."""
    begun_s, begun_ms = time.monotonic(), time.time() * 1000
    try:
        for act in row.acts:
            _wait_until(begun_s + act.at_s)
            _set(site, act)
        _wait_until(begun_s + row.seconds)
    finally:
        site.link.set_both(**row.undo)

    def at(seconds: float | None) -> float | None:
        return None if seconds is None else begun_ms + seconds * 1000

    return Times(begun_ms, begun_ms + row.seconds * 1000, at(row.hurts_s), at(row.mends_s))


def _set(site: sites.Site, act: Act) -> None:
    if act.down:
        site.link.set(far=dict(act.settings))
    else:
        site.link.set_both(**act.settings)


def _wait_until(at_s: float) -> None:
    time.sleep(max(0.0, at_s - time.monotonic()))


def _pressure_us() -> int:
    """Return for how long something has waited for a processor, since boot (kernel's accounting/psi)."""
    with open("/proc/pressure/cpu") as lines:
        return int(lines.readline().rpartition("total=")[2])


def _close(pages: list[Page]) -> None:
    for page in pages:
        page.context.close()


def _told(found: Figures) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in found.items() if value is not None)
