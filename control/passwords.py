"""Password hashes: argon2id in a bounded pool of low-priority threads."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from control.database import try_again

T = TypeVar("T")

# OWASP's first choice for argon2id: 19 MiB, two passes, one lane; about 46 ms here.
MEMORY_KIB = 19 * 1024
PASSES = 2
LANES = 1

THREADS_MAX = 2
# At 46 ms each, the last of these waits about 1.5 s; more would only time out later.
WAITING_MAX = 64
NICENESS = 10  # media and other requests go first


class Passwords:
    """Hashes and verifies off the event loop; Problem `try_again` when too many wait."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES)
        self._threads = ThreadPoolExecutor(
            THREADS_MAX, thread_name_prefix="password", initializer=_step_back
        )
        self._waiting = 0
        # Verified against when there is no account, so that both answers take the same time.
        self._nobody = self._hasher.hash("nobody has this password")

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def hash(self, password: str) -> str:
        """Return the encoded hash of a new password."""
        return await self._off_loop(lambda: self._hasher.hash(password))

    async def verify(self, encoded: str | None, password: str) -> bool:
        """Return whether the password is the one; None stands for no account and takes as long."""
        return await self._off_loop(lambda: self._is_right(encoded, password))

    def is_outdated(self, encoded: str) -> bool:
        """Return whether the hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(encoded)

    def _is_right(self, encoded: str | None, password: str) -> bool:
        try:
            return self._hasher.verify(encoded or self._nobody, password) and encoded is not None
        except (VerificationError, InvalidHashError):
            return False

    async def _off_loop(self, work: Callable[[], T]) -> T:
        if self._waiting >= WAITING_MAX:
            raise try_again()
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1


def _step_back() -> None:
    # On Linux niceness belongs to the thread.
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
