"""A server process that belongs to one directory: its start, its end, and what an earlier run left.

Both servers change to their own directory when they start, so the kernel itself tells which processes
serve it (/proc/PID/cwd). Unlike a pid file that cannot name a stranger, not even after a crash.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from lectern.embedded.places import EmbeddedError

START_TIMEOUT_S = 60.0  # crash recovery of a large database replays up to max_wal_size
STOP_TIMEOUT_S = 20.0
POLL_INTERVAL_S = 0.02
LOG_BYTES_MAX = 10 * 1024 * 1024  # of a server's log; at the next start a longer one is set aside
LOG_TAIL_LINES = 8

PR_SET_PDEATHSIG = 1


class ServerProcess:
    """One running server; the parent is the process that made this object."""

    def __init__(
        self, name: str, directory: Path, child: subprocess.Popen[bytes], log: Path
    ) -> None:
        self.name = name
        self.directory = directory
        self.log = log
        self._child = child

    @property
    def pid(self) -> int:
        return self._child.pid

    def exit_code(self) -> int | None:
        """Return the exit code (negative: the signal) if the server has ended."""
        return self._child.poll()

    def wait_ready(self, ready: Callable[[], bool]) -> None:
        """Return when `ready` says so; EmbeddedError with the log's end when that does not come."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while not ready():
            code = self.exit_code()
            if code is not None:
                raise EmbeddedError(
                    f"{self.name} ended at its start with code {code}:\n{log_tail(self.log)}"
                )
            if time.monotonic() > deadline:
                self.stop(signal.SIGKILL)
                raise EmbeddedError(
                    f"{self.name} was not ready after {START_TIMEOUT_S:.0f} s:\n{log_tail(self.log)}"
                )
            time.sleep(POLL_INTERVAL_S)

    def send(self, how: signal.Signals) -> None:
        if self.exit_code() is None:
            self._child.send_signal(how)

    def stop(self, how: signal.Signals) -> None:
        """End the server with the signal `how`, and with SIGKILL where that takes too long."""
        if self.exit_code() is None:
            self._child.send_signal(how)
            try:
                self._child.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
        # A killed PostgreSQL leaves backends that notice its death a moment later.
        stop_leftovers(self.directory, signal.SIGTERM)


def start(
    name: str,
    arguments: Sequence[str],
    *,
    directory: Path,
    log: Path,
    user: pwd.struct_passwd | None,
    dies_with_parent: bool,
) -> ServerProcess:
    """Start a server in `directory`, as `user` where one is given.

    `dies_with_parent` binds its life to the calling thread (prctl(2), PR_SET_PDEATHSIG): for tests.
    """
    _set_aside(log)
    with log.open("ab") as output:
        child = subprocess.Popen(
            arguments,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=clean_environment(),
            start_new_session=True,  # Ctrl-C is for the supervisor, which then stops us in order
            user=None if user is None else user.pw_uid,
            group=None if user is None else user.pw_gid,
            extra_groups=None if user is None else [],
            umask=0o077,
            preexec_fn=_die_with_parent if dies_with_parent else None,
        )
    return ServerProcess(name, directory, child, log)


def clean_environment() -> dict[str, str]:
    """Return an environment without PG* variables, secrets and the operator's language."""
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def leftovers(directory: Path) -> list[int]:
    """Return the ids of the server processes that work in `directory`."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            if os.readlink(f"/proc/{entry}/cwd") != str(directory):
                continue
            program = os.path.basename(os.readlink(f"/proc/{entry}/exe"))
        except OSError:
            continue  # it has ended, or is another user's
        # Somebody's shell may stand in the directory.
        if program.startswith(("postgres", "redis", "valkey")):
            found.append(int(entry))
    return found


def stop_leftovers(directory: Path, how: signal.Signals) -> bool:
    """End every server that an earlier run left in `directory`; tell whether there was one."""
    left = leftovers(directory)
    if not left:
        return False
    deadline = time.monotonic() + STOP_TIMEOUT_S
    _signal_all(left, how)
    while left := leftovers(directory):
        if time.monotonic() > deadline:
            _signal_all(left, signal.SIGKILL)
        time.sleep(POLL_INTERVAL_S)
    return True


def log_tail(log: Path) -> str:
    """Return the last lines of a log, for an error's text."""
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError as error:
        return f"  (no log: {error})"
    return "\n".join(f"  {line}" for line in lines[-LOG_TAIL_LINES:])


def _signal_all(pids: list[int], how: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, how)
        except ProcessLookupError:
            pass


def _set_aside(log: Path) -> None:
    if log.exists() and log.stat().st_size > LOG_BYTES_MAX:
        log.replace(log.with_suffix(".old.log"))


def _die_with_parent() -> None:
    # Runs between fork and exec, after the change of user (which would clear the setting).
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGINT), 0, 0, 0)
