"""Whether a node's media works: STUN checks to where its clients come to, answered by its packet core.

An HTTP ping proves the wrong thing: a node can answer it while no packet gets through, and a stopped
one is only slow. A check goes the way that a student's packets go, and the answer is sealed under
credentials that only this boot of the node has (RFC 8489 section 9.1).

Every process asks every node once a second, or as many as `CHECKS_PER_S_MAX` by chance, and asks again
when a session is about to be opened on a node that has not answered for `FRESH_S`. Who does not answer
is taken out of rotation for everybody (`Control.shun`). A process judges only nodes that have answered
it before, since an address behind NAT may not be reachable from within, and only while another one
answers: else it may be cut off itself, and there is nowhere to go.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import random
import time
from dataclasses import dataclass, field, replace
from typing import cast
from uuid import UUID

from aioice import stun

from control import AWAY, Control, NodeAddress, Problem
from wire.session import probe_credentials_of

log = logging.getLogger(__name__)

INTERVAL_S = 1.0
CHECKS_PER_S_MAX = 256
# Of one round: a lost packet costs nothing, a stopped node is known by the end.
CHECK_AGAIN_S = (0.0, 0.05, 0.1)
ANSWER_S = 0.2
# A node is shunned after so many rounds without an answer: a media thread may be late once.
ROUNDS_MAX = 2
FRESH_S = 0.5
KNOWN_MAX = 8192
PRIORITY = 1


@dataclass(slots=True)
class _Watched:
    """What is known of one boot of a node."""

    media: tuple[tuple[str, int], ...] = ()
    answered_at: float = float("-inf")
    missed: int = 0  # rounds in a row
    asking: asyncio.Task[bool] | None = None


@dataclass(slots=True)
class _Checks(asyncio.DatagramProtocol):
    """One UDP socket for one family of addresses, and who waits for an answer on it."""

    waiting: dict[bytes, tuple[bytes, asyncio.Future[None]]] = field(default_factory=dict)
    transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, address: object) -> None:
        # The transaction's number (RFC 8489 section 5): everything else is the node's idle reports.
        pwd, future = self.waiting.get(data[8:20], (b"", None))
        if future is None or future.done():
            return
        try:
            answer = stun.parse_message(data)
        except ValueError:
            return  # no STUN
        if answer.message_class == stun.Class.RESPONSE and answer.check_message_integrity(pwd):
            future.set_result(None)


class Health:
    """Watches the nodes in a task of its own, and answers for one of them when asked."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._watched: dict[UUID, _Watched] = {}
        self._checks: dict[int, _Checks] = {}  # by IP version
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._watch(), name="health")

    async def close(self) -> None:
        asking = [known.asking for known in self._watched.values() if known.asking is not None]
        tasks = [task for task in (self._task, *asking) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for checks in self._checks.values():
            if checks.transport is not None:
                checks.transport.close()
        self._checks.clear()

    async def works(self, node: NodeAddress) -> bool:
        """Return whether the node's media answers; takes ANSWER_S at the most, and mostly nothing.

        One that has never answered this process is believed to work.
        """
        known = self._watched.setdefault(node.node_id, _Watched())
        node = node if node.media else replace(node, media=known.media)
        if not node.media or time.monotonic() - known.answered_at < FRESH_S:
            return True
        if await self._ask(node, known) or known.answered_at == float("-inf"):
            return True
        if not self._hears_another(node.node_id):
            return True
        await self._control.shun(node.node_id)
        return False

    async def _watch(self) -> None:
        while True:
            began = time.monotonic()
            try:
                await self._round(await self._control.living_nodes())
            except (*AWAY, Problem) as error:
                log.info("the nodes are not watched while the database is away: %r", error)
            await asyncio.sleep(max(0.0, began + INTERVAL_S - time.monotonic()))

    async def _round(self, nodes: list[NodeAddress]) -> None:
        living = {node.node_id for node in nodes}
        for node_id in [n for n in self._watched if n not in living]:
            del self._watched[node_id]
        some = random.sample(nodes, min(len(nodes), CHECKS_PER_S_MAX))
        for node in some:
            self._watched.setdefault(node.node_id, _Watched()).media = node.media
        watched = [(n, self._watched.setdefault(n.node_id, _Watched())) for n in some if n.media]
        answers = await asyncio.gather(*(self._ask(node, known) for node, known in watched))
        for (node, known), answered in zip(watched, answers, strict=True):
            known.missed = 0 if answered else known.missed + 1
            if known.missed < ROUNDS_MAX or known.answered_at == float("-inf"):
                continue
            if self._hears_another(node.node_id):
                await self._control.shun(node.node_id)
            elif known.missed == ROUNDS_MAX:
                log.warning("node %s is silent, as are all others: not judging it", node.node_id)

    def _hears_another(self, node_id: UUID) -> bool:
        since = time.monotonic() - ROUNDS_MAX * INTERVAL_S - ANSWER_S
        return any(k.answered_at > since for n, k in self._watched.items() if n != node_id)

    async def _ask(self, node: NodeAddress, known: _Watched) -> bool:
        """Check a node; who asks at the same time waits for the same answer."""
        if known.asking is None or known.asking.done():
            known.asking = asyncio.create_task(self._check(node, known))
        return await asyncio.shield(known.asking)

    async def _check(self, node: NodeAddress, known: _Watched) -> bool:
        host, port = node.media[0]
        checks = await self._socket(host)
        if checks is None or checks.transport is None:
            return False
        ufrag, pwd = probe_credentials_of(node.secret)
        request = _request(ufrag, pwd)
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        key = request[8:20]
        checks.waiting[key] = pwd.encode(), answered
        try:
            async with asyncio.timeout(ANSWER_S):
                for pause_s in CHECK_AGAIN_S:
                    await asyncio.wait([answered], timeout=pause_s)
                    if answered.done():
                        break
                    checks.transport.sendto(request, (host, port))
                await answered
        except TimeoutError:
            return False
        finally:
            del checks.waiting[key]
        known.answered_at = time.monotonic()
        return True

    async def _socket(self, host: str) -> _Checks | None:
        version = ipaddress.ip_address(host).version
        if version not in self._checks:
            local = ("0.0.0.0", 0) if version == 4 else ("::", 0)
            loop = asyncio.get_running_loop()
            try:
                _, made = await loop.create_datagram_endpoint(_Checks, local_addr=local)
            except OSError as error:
                log.warning("no node is checked over IPv%d: %s", version, error)
                return None
            if version in self._checks:  # another task was quicker
                made.connection_lost(None)
                assert made.transport is not None
                made.transport.close()
            else:
                self._checks[version] = made
        return self._checks[version]


def _request(ufrag: str, pwd: str) -> bytes:
    """Return one connectivity check (RFC 8445 section 7.2.2)."""
    message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    message.attributes["USERNAME"] = f"{ufrag}:control"
    message.attributes["PRIORITY"] = PRIORITY
    message.attributes["ICE-CONTROLLING"] = 1
    message.add_message_integrity(pwd.encode())
    message.add_fingerprint()
    return bytes(message)
