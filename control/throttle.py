"""Throttling of sign-ins and of floods, by buckets in Redis or, while it is away, in here.

A school behind one address signs in at nine o'clock, and neither one forgetful pupil nor one who
guesses may lock out the others. So failures count per (account, address), and what an address may do
altogether is generous. An address with very many failures is not shut either: its accounts get fewer
tries each, which leaves guessing at many accounts nearly none, and whoever knows the password in.
"""

from __future__ import annotations

import hashlib
import ipaddress
import time
from collections import OrderedDict
from uuid import UUID

from control.problem import Problem
from control.redis_map import RedisMap

WINDOW_S = 300
FAILURES_MAX = 10  # per account and address within the window
ADDRESS_FAILURES_MAX = 200  # after that an account's tries from there are these
FAILURES_OF_MANY_MAX = 2
SIGN_INS_MAX = 3000  # per address within the window: a large school in five minutes
SIGN_UPS_MAX = 2000
PASSWORD_CHANGES_MAX = 10  # per account within the window: each costs as much as a sign-in
CLASSES_MAX = 200  # new ones per account within the window: a term's timetable at once
LOCAL_BUCKETS_MAX = 20_000
# Who has one IPv6 address has all of its network (RFC 6177).
IPV6_NETWORK_BITS = 64


class Throttle:
    """Counts; a Throttle that is off allows everything."""

    def __init__(self, redis_map: RedisMap, *, on: bool) -> None:
        self._map = redis_map
        self._on = on
        self._local: OrderedDict[str, tuple[float, int]] = OrderedDict()

    async def try_sign_in(self, subject: str, address: str) -> None:
        """Count a try, before it is judged: many at once must not pass as one. Problem rate_limited."""
        if not self._on:
            return
        network = _network(address)
        tries = await self._count(_bucket("try", subject, network))
        many = await self._level(_bucket("failed", network)) >= ADDRESS_FAILURES_MAX
        if tries > (FAILURES_OF_MANY_MAX if many else FAILURES_MAX):
            raise _limited()
        if await self._level(_bucket("in", network)) >= SIGN_INS_MAX:
            raise _limited()

    async def failed_sign_in(self, address: str) -> None:
        """Keep the try, and count the address's failures."""
        if self._on:
            await self._count(_bucket("failed", _network(address)))

    async def signed_in(self, subject: str, address: str) -> None:
        """Forget the tries of this account from this address, and count the address's success."""
        if self._on:
            network = _network(address)
            tries = _bucket("try", subject, network)
            self._local.pop(tries, None)
            await self._map.clear(tries)
            await self._count(_bucket("in", network))

    async def check_sign_up(self, address: str) -> None:
        """Problem rate_limited after too many new accounts."""
        if self._on and await self._count(_bucket("up", _network(address))) > SIGN_UPS_MAX:
            raise _limited()

    async def check_password_change(self, account_id: UUID) -> None:
        """Problem rate_limited after too many new passwords."""
        if not self._on:
            return
        if await self._count(_bucket("password", str(account_id))) > PASSWORD_CHANGES_MAX:
            raise _limited()

    async def check_new_class(self, account_id: UUID) -> None:
        """Problem rate_limited after too many new classes."""
        if self._on and await self._count(_bucket("class", str(account_id))) > CLASSES_MAX:
            raise _limited()

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


def _network(address: str) -> str:
    """Return whose address it is, as far as an address tells."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(known, ipaddress.IPv6Address):
        if known.ipv4_mapped is not None:
            return str(known.ipv4_mapped)
        return str(ipaddress.ip_network((known.packed, IPV6_NETWORK_BITS), strict=False))
    return str(known)


def _bucket(*parts: str) -> str:
    # Hashed, so that neither addresses nor accounts can be read off Redis or blow up its keys.
    text = "\0".join(parts)
    return f"{parts[0]}:{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:32]}"


def _limited() -> Problem:
    return Problem(
        429, "rate_limited", "Too many attempts; wait a few minutes.", retry_after_s=WINDOW_S
    )
