"""A process full of viewers: they join, listen and write, as the parent says by lines of JSON.

What they heard is counted by viewer: every comment once, in ascending order, with its way from the
writer's call to the reader's. Batches are the same bytes for many readers, so each is decoded once.
"""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import aiohttp
import msgpack
import uvloop

from benchmarks.comments.viewer import Viewer
from sfu.certificate import NodeCertificate
from sfu.live import decode
from wire import codec
from wire.session import Codec, Offer, OpenSession, Section, SessionOpened

JOINING_MAX: Final = 16  # at once
DECODED_MAX: Final = 256  # batches whose bytes are remembered
# Texts as people write them, 3 to 13 words: they travel packed, and sameness would flatter that.
WORDS: Final = (
    "the of and to in is that it for as with was on be at by this have from or had not are but what there "
    "can out other were all your when up use how said an each she which do their time if will way about many "
    "then them would write like so these her long make thing see him two has look more day could go come did "
    "sign term minus second graph proof why again slide please louder thanks question example matrix limit"
)
PONG: Final[bytes] = msgpack.packb({"type": "pong"})
SECTIONS: Final = (
    Section("0", "video", "video", (Codec("VP8", 96, 90000, rtx_payload_type=97),), {}),
    Section("1", "audio", "mic", (Codec("OPUS", 111, 48000, 2),), {}),
)


@dataclass(frozen=True, slots=True)
class Batch:
    """One message of comments, decoded."""

    first: int
    last: int
    sent_ms: tuple[float, ...]  # of each comment, on the machine's monotonic clock


class Reader:
    """One viewer and what it heard."""

    def __init__(self, crowd: Crowd, number: int) -> None:
        self.number = number
        self.heard = 0
        self.last = 0
        self._crowd = crowd
        self.viewer = Viewer(f"comment{number}", crowd.certificate, self._hear)

    def _hear(self, data: bytes) -> None:
        batch = self._crowd.decoded(data)
        if batch is None:
            if data == self._crowd.ping:
                self.viewer.say(PONG)
            return
        now_ms = time.monotonic() * 1000
        if batch.first <= self.last:
            self._crowd.disorders += 1
        self.last = batch.last
        self.heard += len(batch.sent_ms)
        ways_ms = self._crowd.ways_ms
        for sent_ms in batch.sent_ms:
            ways_ms[int(now_ms - sent_ms)] += 1


class Crowd:
    """The viewers of this process."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.certificate = NodeCertificate.generateCertificate()
        self.ping: bytes = msgpack.packb({"type": "ping"})
        self.ways_ms: Counter[int] = Counter()
        self.disorders = 0
        self.missed = 0
        self.accepted = 0
        self.refused = 0
        self._plan = plan
        self._dice = random.Random(plan["numbers"][0])
        self._words = WORDS.split()
        self._decoded: dict[bytes, Batch | None] = {}
        self.readers = [Reader(self, number) for number in plan["numbers"]]

    def decoded(self, data: bytes) -> Batch | None:
        """Return the comments of a message; None: it is another one."""
        if data in self._decoded:
            return self._decoded[data]
        message = decode(data)
        batch = None
        if message["type"] == "comments":
            items = message["items"]
            self.missed += message.get("missed", 0)
            sent_ms = tuple(float(item["text"].split(" ", 1)[0]) for item in items)
            batch = Batch(items[0]["id"], items[-1]["id"], sent_ms)
        elif message["type"] in ("accepted", "refused"):
            self.accepted += message["type"] == "accepted"
            self.refused += message["type"] == "refused"
            return None
        if len(self._decoded) >= DECODED_MAX:
            del self._decoded[next(iter(self._decoded))]
        self._decoded[data] = batch
        return batch

    async def join(self) -> None:
        """Open the sessions at the node, as signaling does, and connect."""
        path = self._plan["node"].removeprefix("unix:")
        headers = {"Authorization": f"Bearer {self._plan['secret']}"}
        connector = aiohttp.UnixConnector(path)
        turns = asyncio.Semaphore(JOINING_MAX)
        async with aiohttp.ClientSession(connector=connector, headers=headers) as http:

            async def one(reader: Reader) -> None:
                async with turns:
                    opening = codec.pack(self._opening(reader.number))
                    async with http.post("http://node/sessions", data=opening) as answered:
                        body = await answered.read()
                        if answered.status != 200:
                            raise RuntimeError(f"the node answered {answered.status}: {body!r}")
                    await reader.viewer.connect(codec.unpack(SessionOpened, body).answer)

            async with asyncio.TaskGroup() as group:
                for reader in self.readers:
                    group.create_task(one(reader))

    async def talk(self, rate: float, seconds: float, begins_s: float) -> None:
        """Write at a fixed rate, one after the other, whatever comes of it."""
        for number in range(round(rate * seconds)):
            due_s = begins_s + number / rate
            if (wait_s := due_s - time.monotonic()) > 0:
                await asyncio.sleep(wait_s)
            reader = self.readers[number % len(self.readers)]
            words = " ".join(self._dice.choices(self._words, k=self._dice.randint(3, 13)))
            text = f"{time.monotonic() * 1000:.1f} {words}"
            reader.viewer.say(msgpack.packb({"type": "comment", "ref": number, "text": text}))

    async def close(self) -> None:
        await asyncio.gather(*(reader.viewer.close() for reader in self.readers))

    def heard(self) -> dict[str, Any]:
        counts = [reader.heard for reader in self.readers]
        return {
            "delivered": sum(counts),
            "least": min(counts),
            "most": max(counts),
            "ways_ms": sorted(self.ways_ms.items()),
            "disorders": self.disorders,
            "missed": self.missed,
            "accepted": self.accepted,
            "refused": self.refused,
            "cpu_s": time.process_time(),
        }

    def _opening(self, number: int) -> OpenSession:
        offer = Offer(
            ice_ufrag=f"comment{number}",
            ice_pwd=secrets.token_hex(16),
            fingerprints=(self.certificate.fingerprint,),
            dtls_role="client",
            sections=SECTIONS,
            sctp_port=5000,
        )
        identity = str(UUID(int=random.Random(number).getrandbits(128)))
        return OpenSession(
            session_id=f"0197a001-0000-7000-8000-{number:012x}",
            fence=1,
            class_id=self._plan["class"],
            user_id=identity,
            name=f"Student {number}",
            role="viewer",
            offer=offer,
            class_title="Algebra",
            capacity=len(self.readers),
        )


async def main() -> None:
    """Serve one parent until its end of the pipe closes."""
    loop = asyncio.get_running_loop()

    async def order() -> dict[str, Any] | None:
        line = await loop.run_in_executor(None, sys.stdin.readline)
        told: dict[str, Any] | None = json.loads(line) if line else None
        return told

    plan = await order()
    if plan is None:
        return
    crowd = Crowd(plan)
    joining = asyncio.create_task(crowd.join())
    doing: set[asyncio.Task[None]] = {joining}
    joining.add_done_callback(lambda task: _said("joined", task))
    while (told := await order()) is not None:
        if told["do"] == "talk":
            talking = asyncio.create_task(
                crowd.talk(told["rate"], told["seconds"], told["begins_s"])
            )
            doing.add(talking)
            talking.add_done_callback(lambda task: _said("talked", task))
        elif told["do"] == "tell":
            _say({"event": "heard", **crowd.heard()})
    for task in doing:
        task.cancel()
    # The parent has ended the node, or is about to: nobody waits for our farewells.


def _said(event: str, task: asyncio.Task[None]) -> None:
    if task.cancelled():
        return
    error = task.exception()
    _say({"event": event if error is None else f"{event} not: {error!r}"})


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
