"""How often one account may do something, in this process: so many at once, then one more every so often."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from uuid import UUID

from control import Problem

ACCOUNTS_MAX = 20_000


class Allowance:
    """A bucket for each account; whoever is forgotten, as the one not seen for longest, begins full again.

    In each process by itself: it keeps one client from being the whole work of a server, and no more.
    """

    def __init__(
        self, burst: int, refill_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`clock` is monotonic, in seconds."""
        self._burst = burst
        self._refill_s = refill_s
        self._clock = clock
        # By account: what it has left, and as of when; the one not seen for longest first.
        self._left: OrderedDict[UUID, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._left)

    def take(self, account_id: UUID) -> None:
        """Take one; Problem rate_limited, with the time until there is one again, where none is left."""
        now_s = self._clock()
        left, since_s = self._left.pop(account_id, (float(self._burst), now_s))
        left = min(self._burst, left + (now_s - since_s) / self._refill_s)
        taken = left >= 1
        self._left[account_id] = (left - taken, now_s)
        if len(self._left) > ACCOUNTS_MAX:
            self._left.popitem(last=False)
        if not taken:
            wait_s = math.ceil((1 - left) * self._refill_s)
            raise Problem(429, "rate_limited", "Too often; wait a little.", retry_after_s=wait_s)
