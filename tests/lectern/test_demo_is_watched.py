"""From two commands to a picture: `lectern up`, `lectern demo`, and a student who sees the frames move."""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import aioice.ice
import aiortc
import pytest

from lectern.demo.screen import read_counter
from tests.lectern.running import Up, environment

pytestmark = pytest.mark.timeout(120)

FRAMES = 20
PICTURE_TIMEOUT_S = 30.0


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
    link = await asyncio.to_thread(_link, demo)
    async with _student(up.url) as http:
        counters, samples = await _watch(http, up.url, link)
    assert counters == sorted(counters)
    assert counters[-1] - counters[0] >= FRAMES - 1
    assert max(abs(sample) for sample in samples) > 500, "the melody was silent"
    demo.send_signal(signal.SIGINT)
    said, _ = await asyncio.to_thread(demo.communicate, None, 15)
    assert demo.returncode == 0, said
    assert "The class has ended." in said
    assert (await _state(up.url, link)) == "ended"


def _link(demo: subprocess.Popen[str]) -> str:
    assert demo.stdout is not None
    said = []
    for line in demo.stdout:
        said.append(line)
        found = re.search(r"http://\S+/c/\S+", line)
        if found:
            return found[0]
    raise AssertionError("the demo named no link:\n" + "".join(said))


def _student(url: str) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True), headers={"Origin": url})


async def _watch(http: aiohttp.ClientSession, url: str, link: str) -> tuple[list[int], list[int]]:
    """Return the counters of the frames and the samples of the sound that a student received."""
    account = {
        "email": "student@lectern.example",
        "name": "Student",
        "password": "not so secret 9",
        "role": "student",
    }
    async with http.post(url + "/api/accounts", json=account) as made:
        assert made.status == 201, await made.text()
    connection = aiortc.RTCPeerConnection(aiortc.RTCConfiguration(iceServers=[]))
    tracks: dict[str, Any] = {}
    connection.on("track", lambda track: tracks.setdefault(track.kind, track))
    connection.addTransceiver("video", direction="recvonly")
    connection.addTransceiver("audio", direction="recvonly")
    try:
        await connection.setLocalDescription(await connection.createOffer())
        token = link.rpartition("/")[2]
        async with http.post(
            f"{url}/live/links/{token}/whep",
            data=connection.localDescription.sdp,
            headers={"Content-Type": "application/sdp"},
        ) as opened:
            text = await opened.text()
            assert opened.status == 201, text
        answer = aiortc.RTCSessionDescription(sdp=text, type="answer")
        await connection.setRemoteDescription(answer)
        return await asyncio.wait_for(
            asyncio.gather(_counters(tracks["video"]), _samples(tracks["audio"])),
            PICTURE_TIMEOUT_S,
        )
    finally:
        await connection.close()


async def _counters(track: Any) -> list[int]:
    return [read_counter((await track.recv()).to_image()) for _ in range(FRAMES)]


async def _samples(track: Any) -> list[int]:
    heard: list[int] = []
    for _ in range(50):  # 20 ms each
        heard += [int(sample) for sample in (await track.recv()).to_ndarray()[0]]
    return heard


async def _state(url: str, link: str) -> str:
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{url}/api/links/{link.rpartition('/')[2]}") as answer,
    ):
        return str((await answer.json())["state"])
