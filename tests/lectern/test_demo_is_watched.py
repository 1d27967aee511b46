"""From two commands to a picture: `lectern up`, `lectern demo`, and a student who sees the frames move."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import aioice.ice
import pytest

from tests.lectern.running import Up, environment
from tests.lectern.watching import FRAMES, link_of, state, student, watch

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def up() -> Iterator[Up]:
    home = Path(tempfile.mkdtemp(prefix="lectern-demo-", dir="/tmp"))
    home.chmod(0o755)
    running = Up(home / "data").start()
    yield running
    running.stop()
    assert running.left() == []
    shutil.rmtree(home)


@pytest.fixture
def demo(up: Up) -> Iterator[subprocess.Popen[str]]:
    running = subprocess.Popen(
        [sys.executable, "-m", "lectern", "demo", "--server", up.url, "--data", str(up.data)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    yield running
    running.kill()
    running.communicate()


async def test_a_student_sees_the_demo_and_hears_it(
    up: Up, demo: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])
    link = await asyncio.to_thread(link_of, demo)
    async with student(up.url) as http:
        counters, samples = await watch(http, up.url, link)
    assert counters == sorted(counters)
    assert counters[-1] - counters[0] >= FRAMES - 1
    assert max(abs(sample) for sample in samples) > 500, "the melody was silent"
    demo.send_signal(signal.SIGINT)
    said, _ = await asyncio.to_thread(demo.communicate, None, 15)
    assert demo.returncode == 0, said
    assert "The class has ended." in said
    assert (await state(up.url, link)) == "ended"
