"""Throttling of failed sign-ins and of floods, by buckets in Redis or, while it is away, in here.

Failures count per (account, address) and, far more generously, per address: a school behind one
address signs in at nine o'clock, and one forgetful pupil must not lock out the others.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict

from control.problem import Problem
from control.redis_map import RedisMap

WINDOW_S = 300
FAILURES_MAX = 10  # per account and address within the window
ADDRESS_FAILURES_MAX = 200
SIGN_UPS_MAX = 2000  # per address within the window
LOCAL_BUCKETS_MAX = 20_000


class Throttle:
    """Counts; a Throttle that is off allows everything."""

    def __init__(self, redis_map: RedisMap, *, on: bool) -> None:
        self._map = redis_map
        self._on = on
        self._local: OrderedDict[str, tuple[float, int]] = OrderedDict()

    async def check_sign_in(self, subject: str, address: str) -> None:
        """Problem rate_limited after too many failures."""
        if not self._on:
            return
        for bucket, most in self._sign_in_buckets(subject, address):
            if await self._level(bucket) >= most:
                raise _limited()

    async def failed_sign_in(self, subject: str, address: str) -> None:
        if self._on:
            for bucket, _ in self._sign_in_buckets(subject, address):
                await self._count(bucket)

    async def signed_in(self, subject: str, address: str) -> None:
        """Forget the failures of this account from this address."""
        if self._on:
            bucket = self._sign_in_buckets(subject, address)[0][0]
            self._local.pop(bucket, None)
            await self._map.clear(bucket)

    async def check_sign_up(self, address: str) -> None:
        """Problem rate_limited after too many new accounts."""
        if self._on and await self._count(_bucket("up", address)) > SIGN_UPS_MAX:
            raise _limited()

    def _sign_in_buckets(self, subject: str, address: str) -> list[tuple[str, int]]:
        return [
            (_bucket("in", subject, address), FAILURES_MAX),
            (_bucket("in", address), ADDRESS_FAILURES_MAX),
        ]

    async def _level(self, bucket: str) -> int:
        level = await self._map.level(bucket)
        return max(level or 0, self._local_level(bucket))

    async def _count(self, bucket: str) -> int:
        level = await self._map.count(bucket, WINDOW_S)
        if level is not None:
            return level
        level = self._local_level(bucket) + 1
        since = self._local[bucket][0] if bucket in self._local else time.monotonic()
        self._local[bucket] = (since, level)
        self._local.move_to_end(bucket)
        while len(self._local) > LOCAL_BUCKETS_MAX:
            self._local.popitem(last=False)
        return level

    def _local_level(self, bucket: str) -> int:
        since, level = self._local.get(bucket, (0.0, 0))
        if level and time.monotonic() - since > WINDOW_S:
            del self._local[bucket]
            return 0
        return level


def _bucket(*parts: str) -> str:
    # Hashed, so that neither addresses nor accounts can be read off Redis or blow up its keys.
    text = "\0".join(parts)
    return f"{parts[0]}:{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:32]}"


def _limited() -> Problem:
    return Problem(
        429, "rate_limited", "Too many attempts; wait a few minutes.", retry_after_s=WINDOW_S
    )
