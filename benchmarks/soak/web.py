"""Students who come and go through the real `web` process of a deployment of its own."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass
from typing import Self

import aiohttp

from benchmarks import accounting
from benchmarks.clients.handshake import (
    PWD,
    UFRAG,
    Handshake,
    bound_socket,
    certificate,
    drain,
)
from benchmarks.clients.sdp import read_answer
from benchmarks.failover.deployment import Deployment
from benchmarks.failover.school import School
from benchmarks.registry import BenchmarkError

JOIN_S_MAX = 20.0
TASKS_READ = 5
TASKS_EVERY_S = 0.15
TASKS = re.compile(r"^lectern_event_loop_tasks (\S+)$", re.MULTILINE)
# What a player that only watches offers; Chromium's has more codecs and no more sections.
OFFER = """v=0
o=- 1 1 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1 2
m=video 9 UDP/TLS/RTP/SAVPF 96 97
c=IN IP4 0.0.0.0
a=rtcp-mux
{transport}a=mid:0
a=recvonly
a=rtpmap:96 VP8/90000
a=rtcp-fb:96 nack
a=rtcp-fb:96 nack pli
a=rtpmap:97 rtx/90000
a=fmtp:97 apt=96
m=audio 9 UDP/TLS/RTP/SAVPF 111
c=IN IP4 0.0.0.0
a=rtcp-mux
{transport}a=mid:1
a=recvonly
a=rtpmap:111 opus/48000/2
m=application 9 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 0.0.0.0
{transport}a=mid:2
a=sctp-port:5000
"""


@dataclass(frozen=True, slots=True)
class Reading:
    """Of the `web` process; `private_mib` is what it shares with nobody."""

    private_mib: float
    descriptors: int
    tasks: int


class WebChurn:
    """Students of one deployment; each has an account, and one stay after the other."""

    def __init__(self, deployment: Deployment, metrics_token: str) -> None:
        self._url = deployment.url
        self._pid = deployment.process("web")
        self._metrics = {"Authorization": f"Bearer {metrics_token}"}
        self._runner = asyncio.Runner()
        self._who: list[dict[str, str]] = []
        self._offer = offer()

    def __enter__(self) -> Self:
        self._school = self._runner.run(self._open())
        return self

    def __exit__(self, *error: object) -> None:
        self._runner.run(self._http.close())
        self._runner.run(self._school.close())
        self._runner.close()

    def churn(self, seconds: float, at_once: int) -> int:
        """Let students of a new class come and go; return how many stays there were."""
        return self._runner.run(self._churn(seconds, at_once))

    def read(self) -> Reading:
        return self._runner.run(self._read())

    async def _open(self) -> School:
        # Kept connections, as browsers have them; the deployment has one web process.
        self._http = aiohttp.ClientSession(self._url, cookie_jar=aiohttp.DummyCookieJar())
        school = School.open(self._url)
        self._teacher = await school.sign_up("teacher")
        return school

    async def _churn(self, seconds: float, at_once: int) -> int:
        while len(self._who) < at_once:
            self._who.append(await self._school.sign_up("student"))
        teacher = self._teacher
        made = await self._school.ask("POST", "/api/classes", teacher, title="Soak", capacity=1000)
        where = f"/api/classes/{made['id']}"
        started = await self._school.ask("POST", where + "/start", teacher)
        whep = f"/live/links/{started['link'].rpartition('/')[2]}/whep"
        ends_s = time.monotonic() + seconds

        async def stays(who: dict[str, str]) -> int:
            count = 0
            while time.monotonic() < ends_s:
                async with asyncio.timeout(JOIN_S_MAX):
                    await self._stay(whep, who)
                count += 1
            return count

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(stays(who)) for who in self._who]
        except ExceptionGroup as failed:
            first = failed.exceptions[0]
            if isinstance(first, TimeoutError):
                raise BenchmarkError(f"A join took more than {JOIN_S_MAX:g} s.") from first
            raise first from None
        await self._school.ask("POST", where + "/end", teacher)
        return sum(task.result() for task in tasks)

    async def _stay(self, whep: str, who: dict[str, str]) -> None:
        """Join, connect, and leave again."""
        headers = who | {"Content-Type": "application/sdp"}
        async with self._http.post(whep, data=self._offer, headers=headers) as answered:
            text = await answered.text()
            if answered.status != 201:
                raise BenchmarkError(f"A join was answered {answered.status}: {text}")
            location = answered.headers["Location"]
        await _connected(Handshake(read_answer(text).remote(), bound_socket()))
        async with self._http.delete(location, headers=who) as left:
            if left.status != 204:
                raise BenchmarkError(f"A leave was answered {left.status}.")

    async def _read(self) -> Reading:
        # Work that goes on at intervals has a task while it does: the fewest are those that stay.
        tasks = []
        for _ in range(TASKS_READ):
            await asyncio.sleep(TASKS_EVERY_S)
            tasks.append(await self._tasks())
        return Reading(
            accounting.memory_kib(self._pid).private / 1024,
            accounting.descriptors(self._pid),
            min(tasks),
        )

    async def _tasks(self) -> int:
        async with self._http.get("/metrics", headers=self._metrics) as answered:
            told = TASKS.search(await answered.text())
        if told is None:
            raise BenchmarkError("web does not tell its tasks.")
        return int(float(told[1]))


async def _connected(hand: Handshake) -> None:
    """Bring one client to its keys, and close its socket."""
    loop, came = asyncio.get_running_loop(), asyncio.Event()
    descriptor = hand.socket.fileno()
    loop.add_reader(descriptor, came.set)
    try:
        hand.start(time.monotonic())
        while hand.keys is None:
            try:
                async with asyncio.timeout(max(hand.due_s - time.monotonic(), 0.001)):
                    await came.wait()
            except TimeoutError:
                hand.remind(time.monotonic())
            came.clear()
            drain(hand.socket, hand.take)
    finally:
        loop.remove_reader(descriptor)
        hand.socket.close()


def offer() -> str:
    """Return the SDP of every student here: their certificate is one and the same."""
    transport = (
        f"a=ice-ufrag:{UFRAG}\na=ice-pwd:{PWD}\n"
        f"a=fingerprint:sha-256 {certificate().fingerprint[1]}\na=setup:active\n"
    )
    return OFFER.format(transport=transport).replace("\n", "\r\n")
