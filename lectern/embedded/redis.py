"""An embedded Redis (or Valkey) on a unix socket; it keeps nothing, because nothing in it is the truth."""

from __future__ import annotations

import signal
import socket
from pathlib import Path
from urllib.parse import quote

from lectern.embedded import process
from lectern.embedded.binaries import find_redis
from lectern.embedded.places import EmbeddedError, Places

PING_TIMEOUT_S = 1.0


class Redis:
    """A running Redis that belongs to one data directory and to this process."""

    def __init__(self, server: process.ServerProcess, path: Path) -> None:
        self._server = server
        self._path = path

    @classmethod
    def start(cls, places: Places, *, durable: bool = True) -> Redis:
        """Start Redis; one that an earlier run left is stopped first.

        `durable=False` only binds its life to the calling thread: for tests. Raises EmbeddedError.
        """
        data = places.servers / "redis"
        path = places.run / "redis.sock"
        try:
            data.mkdir(mode=0o700, exist_ok=True)
            process.stop_leftovers(data, signal.SIGTERM)
            path.unlink(missing_ok=True)
            server = process.start(
                "Redis",
                _command(find_redis(), data, path),
                directory=data,
                log=places.log / "redis.log",
                user=None,
                dies_with_parent=not durable,
            )
        except OSError as error:
            raise EmbeddedError(f"Redis cannot be started: {error}") from error
        server.wait_ready(lambda: _answers(path))
        return cls(server, path)

    @property
    def pid(self) -> int:
        return self._server.pid

    def url(self, database: int = 0) -> str:
        """Return the URL of one of the 16 databases, as redis-py takes it."""
        return f"unix://{quote(str(self._path), safe='/')}?db={database}"

    def exit_code(self) -> int | None:
        return self._server.exit_code()

    def stop(self) -> None:
        self._server.stop(signal.SIGTERM)


def _command(program: Path, data: Path, path: Path) -> list[str]:
    settings = {
        "port": "0",
        "unixsocket": str(path),
        "unixsocketperm": "700",
        "dir": str(data),
        "save": "",
        "appendonly": "no",
        "daemonize": "no",
    }
    command = [str(program)]
    for name, value in settings.items():
        command += [f"--{name}", value]
    return command


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PING_TIMEOUT_S)
        try:
            connection.connect(str(path))
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False
