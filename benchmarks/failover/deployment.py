"""A `lectern up` of the benchmark's own, and what can be done to its nodes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg

from benchmarks.registry import BenchmarkError

START_S = 90.0
STOP_S = 40.0
SETTLE_S = 60.0
DRAIN_S = 60.0
# Below those that the kernel gives to whoever asks for any (ip_local_port_range).
PORTS = (20_000, 32_000)
TABLE = "lectern_bench"
CHAIN = """table inet {table} {{
chain input {{
type filter hook input priority 0
{rules}}}
}}
"""


class Deployment:
    """Processes of one data directory; nodes are known by their ids."""

    def __init__(
        self, data: Path, port: int, udp_port: int, nodes: int, webs: int, extra: dict[str, str]
    ) -> None:
        self.data = data
        self.url = f"http://127.0.0.1:{port}"
        self.nodes = nodes
        self.udp_port = udp_port
        kept = {name: v for name, v in os.environ.items() if not name.startswith("LECTERN_")}
        kept |= extra
        self._environment = kept
        options = {"port": port, "udp-port": udp_port, "nodes": nodes, "webs": webs}
        self._log = (data.parent / "log").open("w+b")
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "lectern", "up", "--data", str(data)),
                *("--throttle", "off"),
                *(text for name, value in options.items() for text in (f"--{name}", str(value))),
            ],
            env=kept,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def log(self) -> str:
        return (self.data.parent / "log").read_text(errors="replace")

    def wait_ready(self) -> None:
        deadline = time.monotonic() + START_S
        while "is ready." not in self.log():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise BenchmarkError(f"lectern up did not start:\n{self.log()}")
            time.sleep(0.1)

    def stop(self) -> None:
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def process(self, command: str) -> int:
        """Return the process that runs a command of lectern's under the supervisor; BenchmarkError."""
        for entry in os.listdir("/proc"):
            with contextlib.suppress(OSError, ValueError):
                words = Path(f"/proc/{int(entry)}/cmdline").read_text().split("\0")
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) == self._process.pid and words[1:4] == ["-m", "lectern", command]:
                    return int(entry)
        raise BenchmarkError(f"There is no process of lectern {command}.")

    @property
    def database_url(self) -> str:
        where = os.path.realpath(self.data / "run" / "postgres")
        return f"postgresql://lectern@/lectern?host={where}"

    async def rows(self, query: str, *values: Any) -> list[Any]:
        """Ask the database."""
        sql = await asyncpg.connect(self.database_url)
        try:
            return list(await sql.fetch(query, *values))
        finally:
            await sql.close()

    # What is known of the nodes.

    async def states(self) -> dict[str, str]:
        """Return the state of each node that lives, as its database row has it."""
        found = await self.rows(
            "SELECT node_id, CASE WHEN shunned_until > clock_timestamp() THEN 'unreachable'"
            " WHEN draining THEN 'draining' ELSE 'serving' END AS state FROM node"
            " WHERE NOT reaped AND lease_until > clock_timestamp()"
            " AND alive_at > clock_timestamp() - interval '3 s'"
        )
        return {str(node["node_id"]): node["state"] for node in found}

    async def settled(self) -> None:
        """Wait until all nodes serve."""
        try:
            async with asyncio.timeout(SETTLE_S):
                while True:
                    states = await self.states()
                    if list(states.values()) == ["serving"] * self.nodes:
                        return
                    await asyncio.sleep(0.1)
        except TimeoutError as error:
            raise BenchmarkError("the nodes do not come back") from error

    async def out_of_rotation(self, node_id: str) -> float:
        """Wait until a node gets no classes any more; return the seconds that took."""
        began = time.monotonic()
        while True:
            if (await self.states()).get(node_id) != "serving":
                return time.monotonic() - began
            await asyncio.sleep(0.1)

    async def place_of(self, node_id: str) -> tuple[int, int]:
        """Return a node's process id and its UDP port."""
        (node,) = await self.rows("SELECT internal_url FROM node WHERE node_id = $1", node_id)
        wanted = f"LECTERN_INTERNAL_LISTEN={node['internal_url']}"
        for entry in os.listdir("/proc"):
            with contextlib.suppress(OSError, ValueError):
                words = Path(f"/proc/{int(entry)}/environ").read_text().split("\0")
                command = Path(f"/proc/{entry}/cmdline").read_text().split("\0")
                if wanted in words and "sfu" in command:
                    ports = [w for w in words if w.startswith("LECTERN_UDP_PORT=")]
                    return int(entry), int(ports[0].partition("=")[2])
        raise BenchmarkError(f"node {node_id} has no process")

    # Faults; each returns when it has happened, `mend` undoes it.

    async def kill(self, node_id: str) -> None:
        os.kill((await self.place_of(node_id))[0], signal.SIGKILL)

    async def stop_node(self, node_id: str) -> int:
        """Let a node stand still; returns its process, for SIGCONT."""
        pid, _ = await self.place_of(node_id)
        os.kill(pid, signal.SIGSTOP)
        return pid

    def cut(self, port: int) -> None:
        """Drop everything to and from a node's media ports, in our network namespace."""
        rules = "".join(
            f"{protocol} {end} {port} drop\n"
            for protocol in ("udp", "tcp")
            for end in ("dport", "sport")
        )
        table = CHAIN.format(table=TABLE, rules=rules)
        subprocess.run(["nft", "-f", "-"], input=table, text=True, check=True)

    def mend(self) -> None:
        subprocess.run(["nft", "delete", "table", "inet", TABLE], check=True)

    async def drain(self, node_id: str) -> None:
        """Run `lectern node drain` to its end."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "lectern", "node", "drain", node_id),
            *("--data", str(self.data)),
            env=self._environment,
            stdout=asyncio.subprocess.DEVNULL,
        )
        async with asyncio.timeout(DRAIN_S):
            if await process.wait():
                raise BenchmarkError(f"node {node_id} was not drained")


@contextlib.contextmanager
def deployment(nodes: int, webs: int, extra: dict[str, str] | None = None) -> Iterator[Deployment]:
    """Start a deployment that is gone with the block; `extra` are settings that have no option."""
    # Closed directories are out of reach for the user that PostgreSQL runs as under root.
    home = Path(tempfile.mkdtemp(prefix="lectern-failover-", dir="/tmp"))
    home.chmod(0o755)
    first = _free_ports(nodes + 1)
    running = Deployment(home / "data", first, first + 1, nodes, webs, extra or {})
    try:
        running.wait_ready()
        yield running
    finally:
        running.stop()
        shutil.rmtree(home)


def _free_ports(count: int) -> int:
    """Return the first of so many numbers that are free for UDP and TCP."""
    while True:
        first = random.randrange(*PORTS)
        try:
            for port in range(first, first + count):
                for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                    with socket.socket(socket.AF_INET, kind) as probe:
                        probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
