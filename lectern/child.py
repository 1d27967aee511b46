"""A child process of the supervisor: started, listened to, started again when it dies, stopped."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from lectern import lifeline
from lectern.say import pass_on, say
from lectern.settings import PREFIX

# A child that ends with this code will not do better when it is started again.
EXIT_UNUSABLE = 2

# A crash costs its students a moment: the first start is at once. Later ones wait, so that a child that
# cannot run does not take the machine with it.
RESTART_DELAYS_S = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0)
STEADY_AFTER_S = 30.0  # a child that ran so long begins at the first delay again
STOP_TIMEOUT_S = 10.0
LEFTOVER_TIMEOUT_S = 5.0
POLL_INTERVAL_S = 0.05
READ_BYTES = 64 * 1024
LINE_BYTES_MAX = 256 * 1024  # a longer one is passed on in parts


class Child:
    """One `lectern COMMAND` process, kept running until `stop`."""

    def __init__(
        self, name: str, command: str, environment: Mapping[str, str], leftovers: Leftovers
    ) -> None:
        self.name = name
        self.unusable = False  # it said that starting it again is of no use
        self._command = command
        self._environment = environment
        self._leftovers = leftovers
        self._stopping = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        # A node takes SIGTERM for a wish to send everybody elsewhere first.
        self._stop_signal = signal.SIGINT if command == "sfu" else signal.SIGTERM

    def start(self) -> None:
        self._task = asyncio.create_task(self._keep_running())

    async def stop(self) -> None:
        """Ask it to end, and make it end where that takes too long."""
        self._stopping.set()
        if self._task is None:
            return
        self._signal(self._stop_signal)
        done, _ = await asyncio.wait([self._task], timeout=STOP_TIMEOUT_S)
        if not done:
            say(f"{self.name} does not stop; killing it")
            self.kill()
        await self._task

    def kill(self) -> None:
        """End it now, for good."""
        self._stopping.set()
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def _keep_running(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            began = time.monotonic()
            code = await self._run_once()
            if self._stopping.is_set():
                return
            if code == EXIT_UNUSABLE:
                self.unusable = True
                return
            if time.monotonic() - began > STEADY_AFTER_S:
                failures = 0
            delay = RESTART_DELAYS_S[min(failures, len(RESTART_DELAYS_S) - 1)]
            failures += 1
            say(f"{self.name} {_ending(code)}; starting it again in {delay:g} s")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)

    async def _run_once(self) -> int:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "lectern", self._command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=self._whole_environment(),
            start_new_session=True,  # the terminal's Ctrl-C is the supervisor's business
        )
        self._process = process
        self._leftovers.add(process.pid)
        if self._stopping.is_set():  # a stop that came while the process was made saw none
            self._signal(self._stop_signal)
        assert process.stdout is not None
        await _pass_on(process.stdout, self.name)
        code = await process.wait()
        self._leftovers.remove(process.pid)
        return code

    def _whole_environment(self) -> dict[str, str]:
        # Our own settings stay out: a node is not to know the database, whoever named it.
        outside = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        return {**outside, **self._environment, lifeline.SUPERVISOR: str(os.getpid())}


class Leftovers:
    """The children that run, kept in a file: for the next start, should this process be killed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._running: dict[int, str] = {}

    def add(self, pid: int) -> None:
        began = _began(pid)
        if began is not None:
            self._running[pid] = began
            self._write()

    def remove(self, pid: int) -> None:
        if self._running.pop(pid, None) is not None:
            self._write()

    async def stop_earlier(self) -> None:
        """End the children of an earlier supervisor that was killed."""
        try:
            kept = json.loads(self._path.read_text())
        except (FileNotFoundError, ValueError):
            return
        earlier = {int(pid): began for pid, began in kept.items()}
        deadline = time.monotonic() + LEFTOVER_TIMEOUT_S
        number = signal.SIGTERM
        while alive := [pid for pid, began in earlier.items() if _began(pid) == began]:
            if time.monotonic() > deadline:
                number = signal.SIGKILL
            for pid in alive:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            await asyncio.sleep(POLL_INTERVAL_S)

    def _write(self) -> None:
        partial = self._path.with_suffix(".partial")
        partial.write_text(json.dumps(self._running))
        partial.replace(self._path)


def _began(pid: int) -> str | None:
    """Return when a process began, in clock ticks since boot: with its id that names it for good."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The second field, the name in parentheses, may hold anything; the state follows it.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]


async def _pass_on(stream: asyncio.StreamReader, name: str) -> None:
    """Write the child's lines to our standard error, each with the child's name before it."""
    rest = b""
    while chunk := await stream.read(READ_BYTES):
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > LINE_BYTES_MAX:
            lines.append(rest)
            rest = b""
        for line in lines:
            _write_line(name, line)
    if rest:
        _write_line(name, rest)


def _write_line(name: str, line: bytes) -> None:
    pass_on(name, line.decode(errors="replace"))


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
