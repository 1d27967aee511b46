"""Processes that a benchmark starts: told what to do on their standard input, and ended with it."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from benchmarks.registry import BenchmarkError

# A child ends within one round of its loop when its input does.
END_TIMEOUT_S = 3.0


class Child:
    """One child that answers in lines of JSON, each with an `event`; it ends with the `with` block.

    It has a process group of its own, so that Ctrl-C reaches only us, and we end it in order.
    """

    def __init__(self, name: str, command: Sequence[str], **environment: str) -> None:
        self.name = name
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | environment,
            process_group=0,
        )
        self._selector = selectors.DefaultSelector()
        assert self._process.stdout is not None
        self._selector.register(self._process.stdout, selectors.EVENT_READ)

    @property
    def pid(self) -> int:
        return self._process.pid

    def tell(self, text: str) -> None:
        """Write lines to it; BenchmarkError where it has ended."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(text.encode())
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None

    def hear(self, event: str, *, within_s: float) -> dict[str, Any]:
        """Wait for its next line, which has to be this event; else BenchmarkError."""
        line = self._line(time.monotonic() + within_s)
        heard: dict[str, Any] = json.loads(line)
        if heard.get("event") != event:
            raise BenchmarkError(
                f"The {self.name} said {heard.get('event')!r} instead of {event!r}."
            )
        return heard

    def _line(self, deadline: float) -> bytes:
        assert self._process.stdout is not None
        # Every answer is one write of one line, so a readable pipe has all of it, or soon.
        if not self._selector.select(max(0.0, deadline - time.monotonic())):
            raise BenchmarkError(f"The {self.name} has not answered in time.")
        line = self._process.stdout.readline()
        if not line:
            raise self._ended()
        return line

    def _ended(self) -> BenchmarkError:
        return BenchmarkError(f"The {self.name} has ended: exit code {self._process.wait(1)}.")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            pass  # it has ended before us
        try:
            self._process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._selector.close()
        self._process.stdout.close()
