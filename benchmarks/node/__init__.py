"""A whole media node as a process of its own, with a control that only listens."""

from __future__ import annotations

import json
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.children import Child
from benchmarks.node.control import ListeningControl
from benchmarks.registry import BenchmarkError
from sfu._core import BUILD_PROFILE

START_TIMEOUT_S = 20.0


class MediaNode:
    """A node process for as long as the `with` block; `secret` opens its internal API on `socket_path`.

    `profile`: a file for what cProfile sees, None for none.
    """

    def __init__(self, host: str, *, profile: str | None = None) -> None:
        self._host = host
        self._profile = profile
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        if BUILD_PROFILE != "release":
            raise BenchmarkError("The packet core is a debug build: its figures mean nothing.")
        with ExitStack() as stack:
            directory = Path(
                stack.enter_context(tempfile.TemporaryDirectory(prefix="lectern-bench-"))
            )
            control = stack.enter_context(ListeningControl(directory / "control.sock"))
            command = [sys.executable, "-m", "benchmarks.node.process"]
            self.child = stack.enter_context(Child("node", command))
            self.child.tell(
                json.dumps(
                    {
                        "host": self._host,
                        "directory": str(directory),
                        "url": control.url,
                        "profile": self._profile,
                    }
                )
                + "\n"
            )
            started: dict[str, Any] = self.child.hear("started", within_s=START_TIMEOUT_S)
            self.pid: int = started["pid"]
            self.control = control
            self.socket_path = str(directory / "node.sock")
            self.secret = control.wait_registered(START_TIMEOUT_S).secret
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def ask(self, what: str) -> dict[str, Any]:
        """Ask the process for its own counters (`stats`, `memory`)."""
        self.child.tell(json.dumps({"do": what}) + "\n")
        return self.child.hear(what, within_s=START_TIMEOUT_S)
