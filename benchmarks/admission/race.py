"""Everything at once in several web processes, and the invariants asked all the while."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass

from benchmarks.admission import riot, school
from benchmarks.admission.invariants import Violations, check
from benchmarks.admission.processes import WebProcesses
from benchmarks.admission.riot import Outcome, Riot
from benchmarks.admission.servers import Servers
from benchmarks.report import Report

CHECK_INTERVAL_S = 1.0
# All of attendance is looked at so often within the race, and once more at its end.
SEGMENT_CHECKS = 10
PROGRESS_S = 10.0
# Per process: enough that batches fill.
RIOTERS = 256
CAPACITY_MAX = 40


@dataclass(frozen=True, slots=True)
class Race:
    """`people` want the places of `classes` in `attempts`, shared out among `processes`."""

    attempts: int
    processes: int
    seed: int
    people: int = 2000
    classes: int = 40


def run(servers: Servers, race: Race, report: Report) -> None:
    """Race, check, and report what was broken; nothing may be."""
    jobs = asyncio.run(jobs_of(servers.database_url, race))
    watch = _Watch(servers.database_url, race, report)
    began = time.monotonic()
    with WebProcesses(race.processes, riot.opened, servers.database_url, servers.redis_url) as web:
        outcomes = web.run(jobs, watch.heard, watch.look)
    took_s = time.monotonic() - began
    watch.look_at_everything()
    fill(report, race, outcomes, watch.violations, watch.checks, took_s)


async def jobs_of(database_url: str, race: Race) -> list[Riot]:
    """Make people and classes, some of which have not started, and share out the attempts."""
    dice = random.Random(race.seed)
    made = await school.live_classes(database_url, race.classes, CAPACITY_MAX // 2)
    waiting = await school.waiting_classes(database_url, race.classes // 4, CAPACITY_MAX // 2)
    people = await school.people(database_url, race.people)
    teachers = {c.class_id: c.teacher_id for c in (*made, *waiting)}
    return [
        Riot(
            seed=dice.randrange(2**32),
            attempts=race.attempts // race.processes,
            rioters=RIOTERS,
            # Those who teach attend as well, when they may.
            people=[*people, *teachers.values()],
            teachers=teachers,
            capacity_max=CAPACITY_MAX,
        )
        for _ in range(race.processes)
    ]


def fill(
    report: Report,
    race: Race,
    outcomes: list[Outcome],
    found: Violations,
    checks: int,
    took_s: float,
) -> None:
    """Put what happened into the report."""
    whole = sum((outcome.violations for outcome in outcomes), found)
    attempts = sum(outcome.attempts for outcome in outcomes)
    done = sum((outcome.done for outcome in outcomes), Counter[str]())
    refused = sum((outcome.refused for outcome in outcomes), Counter[str]())
    report.figures |= {
        "attempts": attempts,
        "violations": whole.total(),
        "admitted": sum(outcome.admitted for outcome in outcomes),
        "left": sum(outcome.left for outcome in outcomes),
        "web": race.processes,
        "seed": race.seed,
        "checks": checks,
        "took_s": took_s,
        "attempts_per_s": attempts / took_s,
    }
    for name, counted in (("actions", done), ("refusals", refused), ("broken", whole)):
        for what, times in sorted(counted.items()):
            report.add_row(name, {"what": what, "times": times})
    report.expect(f"attempts >= {race.attempts}", attempts >= race.attempts)
    report.expect("violations = 0", whole.total() == 0)


class _Watch:
    """Tells how it goes, and asks the invariants again and again."""

    def __init__(self, database_url: str, race: Race, report: Report) -> None:
        self._database_url = database_url
        self._race = race
        self._report = report
        self._attempts: Counter[int] = Counter()
        self._look_at = 0.0
        self._tell_at = time.monotonic() + PROGRESS_S
        self._segment_checks = 0
        self.checks = 0
        self.violations: Violations = Counter()

    def heard(self, number: int, attempts: int) -> None:
        self._attempts[number] = attempts

    def look(self) -> None:
        """Check where it is time to."""
        now, done = time.monotonic(), self._attempts.total()
        # For a race that is interrupted; `fill` has the last word.
        self._report.figures |= {
            "attempts": done, "violations": self.violations.total(), "checks": self.checks,
        }  # fmt: skip
        if now >= self._tell_at:
            self._tell_at = now + PROGRESS_S
            self._report.say(
                f"{done:,} of {self._race.attempts:,} attempts, {self.checks} checks,"
                f" {self.violations.total()} violations"
            )
        if now >= self._look_at:
            share = (SEGMENT_CHECKS + 1) * done // self._race.attempts
            segments = share > self._segment_checks
            self._segment_checks = share
            self._check(segments=segments)
            self._look_at = time.monotonic() + CHECK_INTERVAL_S

    def look_at_everything(self) -> None:
        self._check(segments=True)

    def _check(self, *, segments: bool) -> None:
        self.violations += asyncio.run(check(self._database_url, segments=segments))
        self.checks += 1
