"""A node's internal API over a unix socket: a blocking call, and the bytes for those who cannot block."""

from __future__ import annotations

import http.client
import socket
from typing import Any

from benchmarks.clients.handshake import Remote
from benchmarks.registry import BenchmarkError
from wire import codec
from wire.session import Answer, OpenSession, SessionOpened

CALL_TIMEOUT_S = 10.0


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("node", timeout=CALL_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class NodeApi:
    """One kept connection to one node."""

    def __init__(self, path: str, secret: str) -> None:
        self._connection = _UnixConnection(path)
        self._headers = {"Authorization": f"Bearer {secret}"}

    def open(self, message: OpenSession) -> Answer:
        """Open a session; BenchmarkError where the node refuses."""
        return codec.unpack(SessionOpened, self._call("POST", "/sessions", message)).answer

    def close(self) -> None:
        self._connection.close()

    def _call(self, method: str, path: str, message: Any) -> bytes:
        self._connection.request(method, path, codec.pack(message), self._headers)
        response = self._connection.getresponse()
        body = response.read()
        if response.status >= 300:
            raise BenchmarkError(f"The node answered {response.status}.")
        return body


def request_bytes(message: OpenSession, secret: str) -> bytes:
    """Return the whole HTTP request that opens a session."""
    body = codec.pack(message)
    head = f"POST /sessions HTTP/1.1\r\nHost: node\r\nAuthorization: Bearer {secret}\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body


def remote_of(answer: Answer) -> Remote:
    """Return where a client of this answer goes: the node's first candidate over UDP."""
    candidate = next(one for one in answer.candidates if one.transport == "udp")
    return Remote(
        candidate.address, candidate.port, answer.ice_ufrag, answer.ice_pwd, answer.fingerprint[1]
    )
