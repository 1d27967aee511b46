"""A student without a browser, who watches what the demo teaches."""

from __future__ import annotations

import asyncio
import re
import subprocess
from typing import Any

import aiohttp
import aiortc

from lectern.demo.screen import read_counter

FRAMES = 20
PICTURE_TIMEOUT_S = 30.0
ACCOUNT = {
    "email": "student@lectern.example",
    "name": "Student",
    "password": "not so secret 9",
    "role": "student",
}


def link_of(demo: subprocess.Popen[str]) -> str:
    assert demo.stdout is not None
    said = []
    for line in demo.stdout:
        said.append(line)
        found = re.search(r"http://\S+/c/\S+", line)
        if found:
            return found[0]
    raise AssertionError("the demo named no link:\n" + "".join(said))


def student(url: str) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True), headers={"Origin": url})


async def watch(
    http: aiohttp.ClientSession, url: str, link: str, account: dict[str, str] | None = None
) -> tuple[list[int], list[int]]:
    """Return the counters of the frames and the samples of the sound that a student received."""
    async with http.post(url + "/api/accounts", json=account or ACCOUNT) as made:
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


async def state(url: str, link: str) -> str:
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{url}/api/links/{link.rpartition('/')[2]}") as answer,
    ):
        return str((await answer.json())["state"])
