"""Faults on the processes of one `lectern up`, each of which proves that it happened."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import UUID

import aiohttp
import asyncpg

from tests.chaos.ledger import BEAT_S, Ledger, Outage
from tests.lectern.running import Up, lives

RESTART_S = 45.0  # a child that dies often is started again after up to 10 s
PROBE_S = 1.0
STOPS_S = (3.0, 6.0, 12.0, 20.0)
COMMIT_S = 30.0
DRAIN_S = 40.0  # its clients do not follow, so it waits out their patience


class Faults:
    """Injects faults in turn; `done` counts those whose effect was seen."""

    def __init__(self, up: Up, database_url: str, ledger: Ledger, dice: random.Random) -> None:
        self.up = up
        self.database_url = database_url
        self.ledger = ledger
        self.dice = dice
        self.done: list[str] = []
        self.marker = up.data.parent / "after-commit"

    def kinds(self) -> list[Callable[[], Awaitable[None]]]:
        return [
            self.kill_web, self.kill_node, self.kill_database, self.stop_web, self.stop_node,
            self.stop_database, self.cut_database, self.kill_after_commit, self.stop_after_commit,
            self.drain_node, self.kill_redis,
        ]  # fmt: skip

    async def run(self, count: int) -> None:
        """Inject so many faults, every kind in turn in an order of chance, and let things settle."""
        while len(self.done) < count:
            turn = self.kinds()
            self.dice.shuffle(turn)
            for fault in turn[: count - len(self.done)]:
                began = time.time()
                await fault()
                self.done.append(fault.__name__)
                await self.settle()
                self.ledger.outages.append(Outage(fault.__name__, began, time.time()))
                print(f"fault {len(self.done)}: {fault.__name__}, {time.time() - began:.1f} s")
                await asyncio.sleep(self.dice.uniform(2.0, 6.0))

    async def settle(self) -> None:
        """Wait until everything serves again: web answers, and both nodes have fresh leases."""
        await asyncio.sleep(BEAT_S + 0.5)  # a dead node looks alive for a beat
        async with asyncio.timeout(90), aiohttp.ClientSession() as http:
            while not (await self.answers(http) and await self.nodes() == self.up.nodes):
                await asyncio.sleep(0.2)

    async def answers(self, http: aiohttp.ClientSession) -> bool:
        try:
            timeout = aiohttp.ClientTimeout(total=PROBE_S)
            async with http.get(self.up.url + "/readyz", timeout=timeout) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False

    async def nodes(self) -> int:
        """Return how many nodes have beaten lately."""
        sql = await asyncpg.connect(self.database_url, timeout=PROBE_S)
        try:
            return int(
                await sql.fetchval(
                    "SELECT count(*) FROM node WHERE NOT reaped"
                    " AND alive_at > clock_timestamp() - interval '3 s'",
                    timeout=PROBE_S,
                )
            )
        except (OSError, TimeoutError, asyncpg.PostgresError):
            return 0
        finally:
            sql.terminate()

    # Killed.

    async def kill_web(self) -> None:
        pid = self.dice.choice(self.up.children("web"))
        await self._kill(pid, lambda: self.up.children("web"))

    async def kill_node(self) -> None:
        pid = self.dice.choice(self.up.children("sfu"))
        node_id = await self.node_of(pid)
        self.ledger.node_is_gone(node_id, time.time())
        await self._kill(pid, lambda: self.up.children("sfu"))

    async def kill_redis(self) -> None:
        (pid,) = self.redis_processes()
        await self._kill(pid, self.redis_processes)

    async def kill_database(self) -> None:
        postmaster = self.database_processes()[0]
        await self._kill(postmaster, lambda: self.database_processes()[:1])

    async def _kill(self, pid: int, running: Callable[[], list[int]]) -> None:
        before = len(running())
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(5):
            while lives(pid):
                await asyncio.sleep(0.01)
        await self._replaced(pid, running, before)

    async def _replaced(self, pid: int, running: Callable[[], list[int]], count: int) -> None:
        """Wait until there are so many processes again, and not this one."""
        async with asyncio.timeout(RESTART_S):
            while pid in running() or len(running()) != count:
                await asyncio.sleep(0.1)

    # Replaced in order.

    async def drain_node(self) -> None:
        """Let a node send everybody elsewhere, to clients who do not listen, and stop."""
        nodes = self.up.children("sfu")
        pid = self.dice.choice(nodes)
        os.kill(pid, signal.SIGTERM)
        async with asyncio.timeout(DRAIN_S):
            while lives(pid):
                await asyncio.sleep(0.05)
        await self._replaced(pid, lambda: self.up.children("sfu"), len(nodes))

    # Stopped.

    async def stop_web(self) -> None:
        webs = self.up.children("web")
        # All of them, or one that the others stand in for.
        await self._stop(self.dice.choice([webs, webs[:1]]), self._pause())
        assert self.up.children("web") == webs

    async def stop_node(self) -> None:
        pid = self.dice.choice(self.up.children("sfu"))
        seconds = self._pause()
        if seconds > 8:  # longer than its lease lets it live
            self.ledger.node_is_gone(await self.node_of(pid), time.time())
        await self._stop([pid], seconds)

    async def stop_database(self) -> None:
        await self._stop(self.database_processes(), self._pause())

    async def _stop(self, pids: list[int], seconds: float) -> None:
        assert pids
        for pid in pids:
            try:
                os.kill(pid, signal.SIGSTOP)
            except ProcessLookupError:
                pass  # a backend whose client has gone
        try:
            await asyncio.sleep(seconds)
            assert any(state_of(pid) == "T" for pid in pids), "nothing was stopped"
        finally:
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGCONT)
                except ProcessLookupError:
                    pass

    def _pause(self) -> float:
        return self.dice.choice(STOPS_S)

    # Cut off.

    async def cut_database(self) -> None:
        """End every connection of ours to the database, again and again for a while."""
        cut = 0
        sql = await asyncpg.connect(self.database_url)
        for _ in range(10):
            cut += await sql.fetchval(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE application_name LIKE 'lectern%' AND pid <> pg_backend_pid()"
            )
            await asyncio.sleep(0.2)
        await sql.close()
        assert cut > 0

    # Between a commit and the call to the node.

    async def kill_after_commit(self) -> None:
        webs = self.up.children("web")
        await self._after_commit(signal.SIGKILL)
        async with asyncio.timeout(RESTART_S):
            while all(lives(pid) for pid in webs) or len(self.up.children("web")) < len(webs):
                await asyncio.sleep(0.05)

    async def stop_after_commit(self) -> None:
        webs = self.up.children("web")
        await self._after_commit(signal.SIGSTOP)
        async with asyncio.timeout(5):
            while not (stopped := [pid for pid in webs if state_of(pid) == "T"]):
                await asyncio.sleep(0.01)
        await asyncio.sleep(self._pause())
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)

    async def _after_commit(self, number: signal.Signals) -> None:
        partial = self.marker.with_suffix(".partial")
        partial.write_text(str(int(number)))
        partial.rename(self.marker)
        async with asyncio.timeout(COMMIT_S):
            while self.marker.exists():  # until an admission has come by
                await asyncio.sleep(0.01)

    # What runs.

    async def node_of(self, pid: int) -> UUID:
        """Return the id under which a node's process is known."""
        environment = Path(f"/proc/{pid}/environ").read_text().split("\0")
        (listen,) = (
            entry.partition("=")[2]
            for entry in environment
            if entry.startswith("LECTERN_INTERNAL_LISTEN=")
        )
        sql = await asyncpg.connect(self.database_url)
        try:
            node_id: UUID = await sql.fetchval(
                "SELECT node_id FROM node WHERE internal_url = $1 ORDER BY registered_at DESC LIMIT 1",
                listen,
            )
            return node_id
        finally:
            await sql.close()

    def redis_processes(self) -> list[int]:
        directory = os.path.realpath(self.up.data / "redis")
        where = {os.path.realpath(self.up.data / "servers" / "redis"), directory}
        return [pid for pid in _all_processes() if _directory_of(pid) in where]

    def database_processes(self) -> list[int]:
        """Return the server's processes, the first one first."""
        directory = os.path.realpath(self.up.data / "postgres")
        found = []
        for entry in os.listdir("/proc"):
            try:
                if entry.isdigit() and os.readlink(f"/proc/{entry}/cwd") == directory:
                    found.append(int(entry))
            except OSError:
                pass
        return sorted(found, key=lambda pid: (_parent(pid) in found, pid))


def _all_processes() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def _directory_of(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return ""


def state_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0
