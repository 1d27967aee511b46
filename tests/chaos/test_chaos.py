"""Real processes are killed, stopped and cut off while people come and go; nothing is ever wrong.

A longer run, or a run that failed, by its seed:

    LECTERN_TEST_CHAOS=SEED:FAULTS .venv/bin/python -m pytest -m long -s tests/chaos/test_chaos.py
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from signaling import fault
from tests.chaos.checker import violations
from tests.chaos.faults import Faults
from tests.chaos.ledger import Ledger
from tests.chaos.people import REQUEST_S, School, Student
from tests.lectern.running import Up

FAULTS = 44
STUDENTS = 10
CAPACITY = 6
BLOCKED_S = 45.0
END_EVERY_S = 25.0
CALM_S = 6.0  # three beats


@pytest.fixture
def up(monkeypatch: pytest.MonkeyPatch) -> Iterator[Up]:
    home = Path(tempfile.mkdtemp(prefix="lectern-chaos-", dir="/tmp"))
    home.chmod(0o755)
    monkeypatch.setenv(fault.AFTER_COMMIT, str(home / "after-commit"))
    running = Up(home / "data", "--throttle", "off", "--nodes", "3", "--webs", "2", nodes=3)
    yield running
    if running.process is not None:
        running.stop()
    assert running.left() == []
    shutil.rmtree(home)


def asked() -> tuple[int, int]:
    """Return seed and number of faults."""
    seed, _, faults = os.environ.get("LECTERN_TEST_CHAOS", "").partition(":")
    return int(seed or random.SystemRandom().randrange(10**6)), int(faults or FAULTS)


@pytest.mark.long
@pytest.mark.timeout(0)
async def test_nothing_is_lost_doubled_or_made_up(up: Up) -> None:
    seed, count = asked()
    print(f"LECTERN_TEST_CHAOS={seed}:{count}")
    up.start()
    url = f"postgresql://lectern@/lectern?host={os.path.realpath(up.data / 'run' / 'postgres')}"
    ledger = Ledger()
    timeout = aiohttp.ClientTimeout(total=REQUEST_S)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(
        up.url,
        timeout=timeout,
        connector=connector,
        cookie_jar=aiohttp.CookieJar(unsafe=True),
    ) as http:
        school = School(http, ledger, random.Random(seed))
        for _ in range(2):
            await school.lesson(CAPACITY)
        for number in range(STUDENTS):
            user_id, token = await school.sign_up("student")
            dice = random.Random(seed * 1000 + number)
            school.students.append(Student(school, user_id, token, dice))
        faults = Faults(up, url, ledger, random.Random(seed))
        teaching = [asyncio.create_task(school.teach(lesson)) for lesson in school.lessons]
        await _riot(school, faults, count)
        assert len(faults.done) == count
        await asyncio.sleep(CALM_S)
        wrong = await _check(url, ledger)
        await _everybody_is_gone(school)
        wrong += await _nobody_is_blocked(school)
        wrong += await _check(url, ledger)
        for task in teaching:
            task.cancel()
        await asyncio.gather(*teaching, return_exceptions=True)
    print(f"{count} faults, {len(ledger.acknowledged)} stays, {school.done}")
    assert not wrong, f"LECTERN_TEST_CHAOS={seed}:{count}\n" + "\n".join(dict.fromkeys(wrong))
    # The riot was one.
    assert len(ledger.acknowledged) > count
    for what in ("left", "pagehide", "vanished", "second tabs", "resumed", "ended and reopened"):
        assert school.done.get(what), school.done
    assert school.done.get("joins unanswered"), school.done


async def _riot(school: School, faults: Faults, count: int) -> None:
    """People act while faults come; afterwards everybody stands still."""

    async def ends() -> None:
        while True:
            await asyncio.sleep(END_EVERY_S)
            await school.end_and_reopen(school.dice.choice(school.lessons))

    acting = [asyncio.create_task(student.live()) for student in school.students]
    ending = asyncio.create_task(ends())
    running = asyncio.create_task(faults.run(count))
    done, _ = await asyncio.wait([*acting, ending, running], return_when=asyncio.FIRST_COMPLETED)
    for task in (running, ending, *acting):
        task.cancel()
    await asyncio.gather(*acting, ending, running, return_exceptions=True)
    for task in done:
        if not task.cancelled():
            task.result()


async def _everybody_is_gone(school: School) -> None:
    for student in school.students:
        for task in list(student.old):
            task.cancel()
        await asyncio.gather(*student.old, return_exceptions=True)
        if student.body is not None:
            await student.vanish()
    for stay in school.ledger.stays:
        stay.end("closed")


async def _nobody_is_blocked(school: School) -> list[str]:
    """Everybody may join another class, without taking over, BLOCKED_S after everything is gone."""
    school.lessons = [await school.lesson(STUDENTS)]
    gone_at = time.time()
    await asyncio.sleep(BLOCKED_S)
    blocked = []
    for student in school.students:
        before = dict(school.done)
        if not await student.join(school.lessons[0], "?again=1"):
            why = [k for k, v in school.done.items() if v != before.get(k) and k != "joins tried"]
            blocked.append(f"blocked {time.time() - gone_at:.0f} s after: {student.user_id} {why}")
        else:
            await student.leave()
    for student in school.students:
        for task in list(student.old):
            task.cancel()
        await asyncio.gather(*student.old, return_exceptions=True)
    return blocked


async def _check(url: str, ledger: Ledger) -> list[str]:
    sql = await asyncpg.connect(url)
    try:
        return await violations(sql, ledger)
    finally:
        await sql.close()
