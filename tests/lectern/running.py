"""A `lectern up` for tests: started in its own directory, listened to, and ended whatever happens."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
POLL_INTERVAL_S = 0.05


class Up:
    """One supervisor over a data directory, on ports that were free a moment ago."""

    def __init__(self, data: Path, *options: str, nodes: int = 1) -> None:
        self.data = data
        self.nodes = nodes
        self.port = free_port(socket.SOCK_STREAM)
        self.media_port = free_media_port(nodes)
        self.options = options
        self.variables: dict[str, str] = {}  # settings that hold secrets
        self.lines: list[str] = []
        self.process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def command(self) -> list[str]:
        ports = ["--port", str(self.port), "--udp-port", str(self.media_port)]
        return [
            sys.executable,
            "-m",
            "lectern",
            "up",
            "--data",
            str(self.data),
            *ports,
            *self.options,
        ]

    def start(self) -> Up:
        """Start it and wait until it says that it is ready."""
        self.launch()
        self.expect("is ready.")
        return self

    def launch(self) -> None:
        self.lines = []
        self.process = subprocess.Popen(
            self.command(),
            cwd=self.data.parent,
            env={**environment(), **self.variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, args=(self.process,), daemon=True)
        self._reader.start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.lines.append(line.rstrip())

    def said(self, text: str) -> bool:
        return any(text in line for line in list(self.lines))

    def expect(self, text: str, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until a line holds `text`."""
        deadline = time.monotonic() + timeout_s
        while not self.said(text):
            assert self.process is not None
            ended = self.process.poll() is not None and not (
                self._reader and self._reader.is_alive()
            )
            if ended or time.monotonic() > deadline:
                raise AssertionError(f"{text!r} was not said:\n" + "\n".join(self.lines))
            time.sleep(POLL_INTERVAL_S)

    def children(self, command: str) -> list[int]:
        """Return the processes of `lectern web` or `lectern sfu` that serve this data directory."""
        wanted = f"LECTERN_DATA={self.data}".encode()
        return [
            pid
            for pid, arguments in processes()
            if arguments[-2:] == ["lectern", command] and wanted in _environment_of(pid)
        ]

    def left(self) -> list[list[str]]:
        """Return the command lines of all processes that have to do with this data directory."""
        text = str(self.data)
        servers = os.path.realpath(self.data / "servers")
        return [
            arguments
            for pid, arguments in processes()
            if any(text in argument or servers in argument for argument in arguments)
            or f"LECTERN_DATA={text}".encode() in _environment_of(pid)
        ]

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait(self) -> int:
        assert self.process is not None
        code = self.process.wait(STOP_TIMEOUT_S)
        if self._reader is not None:
            self._reader.join(STOP_TIMEOUT_S)
        return code

    def stop(self) -> int:
        """Stop it if it runs, and return its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.signal(signal.SIGINT)
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


def environment() -> dict[str, str]:
    """Return our environment without settings of Lectern, and with this checkout to import."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LECTERN_")}
    return {**kept, "PYTHONPATH": str(ROOT)}


def run_lectern(
    *arguments: str, extra: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command that ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "lectern", *arguments],
        env={**environment(), **(extra or {})},
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT_S,
    )


def free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def free_media_port(count: int = 1) -> int:
    """Return a number that is free for UDP and for TCP, and so are the next ones, `count` in all."""
    while True:
        port = free_port(socket.SOCK_DGRAM)
        if all(_is_free(port + more) for more in range(count)):
            return port


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except (OSError, OverflowError):
                return False
    return True


def processes() -> list[tuple[int, list[str]]]:
    """Return the process ids and arguments of everything that runs."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            arguments = _read_bytes(Path("/proc", entry, "cmdline")).decode(errors="replace")
            if arguments:
                found.append((int(entry), arguments.rstrip("\0").split("\0")))
    return found


def lives(pid: int) -> bool:
    """Whether a process runs; one that nobody has reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition: Callable[[], bool], timeout_s: float = 15.0) -> None:
    """Wait until `condition()` is true."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{condition} did not come true in {timeout_s} s"
        time.sleep(POLL_INTERVAL_S)


def ask(url: str) -> int:
    """Return the status of a GET."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            status: int = answer.status
            return status
    except urllib.error.HTTPError as error:
        return error.code


def _environment_of(pid: int) -> list[bytes]:
    return _read_bytes(Path(f"/proc/{pid}/environ")).split(b"\0")


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # the process has ended, or is another user's
