"""Webhooks: events of classes, written by triggers with what they tell of, sent by one process.

A trigger writes an event in the very transaction that it is about, so none is lost and none is made up,
and admission's own statements know nothing of it; without a webhook the triggers are disabled. One web
process at a time delivers, whoever holds an advisory lock. Of each class the oldest event goes first and
the next one only after it was taken; classes do not wait for each other. What fails is tried again, later
and later, for about a day and a half, and is then given up. A receiver may get an event twice (the answer
was lost), under the same id.

The form is Standard Webhooks' (https://www.standardwebhooks.com): headers webhook-id, webhook-timestamp
and webhook-signature. The URL is the operator's alone, so nobody else can send requests from here to
places of their choice; redirects are not followed, answers are not read beyond their status.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import aiohttp
import asyncpg
from prometheus_client import Counter, Gauge

from control.database import AWAY, COMMAND_TIMEOUT_S, SETTINGS, Database
from control.metrics import REGISTRY
from control.queries import QUERIES

log = logging.getLogger(__name__)

DELIVERY_LOCK = 0x4C45_4354_0003
POLL_INTERVAL_S = 0.5
RECONNECT_S = 1.0
CLASSES_AT_ONCE_MAX = 16
EVENTS_OF_CLASS_MAX = 100  # then the other classes have their turn
ANSWER_S = 10.0
# A turn ends well before the connection that holds the lock counts as idle.
TURN_S = 20.0
LOCK_IDLE_MAX_S = 60.0
# 5 s doubled up to 2 h: the last try comes about 36 hours after the first one.
BACKOFF_MIN_S = 5.0
BACKOFF_MAX_S = 2 * 3600.0
ATTEMPTS_MAX = 28
WAITING_COUNTED_MAX = 10_000
USER_AGENT = "Lectern-Webhooks/1"
SWITCH_ATTEMPTS_MAX = 20

DELIVERIES = Counter(
    "lectern_webhook_deliveries",
    "Tries to deliver an event: taken, failed, or given up for good.",
    ["outcome"],
    registry=REGISTRY,
)
WAITING = Gauge(
    "lectern_webhook_events_waiting", "Events that wait, counted up to 10,000.", registry=REGISTRY
)
for _outcome in ("taken", "failed", "given_up"):
    DELIVERIES.labels(_outcome)


@dataclass(frozen=True, slots=True, repr=False)
class Webhook:
    """Where events go and the key that signs them, `whsec_` and base64; both are secrets."""

    url: str
    secret: str

    def headers(self, event_id: str, now_s: int, body: bytes) -> dict[str, str]:
        """Return the headers of one try."""
        key = base64.b64decode(self.secret.removeprefix("whsec_"), validate=True)
        signed = b".".join((event_id.encode(), str(now_s).encode(), body))
        mac = hmac.new(key, signed, hashlib.sha256).digest()
        return {
            "Content-Type": "application/json",
            "User-Agent": USER_AGENT,
            "webhook-id": event_id,
            "webhook-timestamp": str(now_s),
            "webhook-signature": f"v1,{base64.b64encode(mac).decode()}",
        }


class Webhooks:
    """One endless task, whether there is a webhook or not."""

    def __init__(self, database: Database, webhook: Webhook | None) -> None:
        self._database = database
        self._webhook = webhook

    async def run(self) -> None:
        """Switch the triggers as they are needed, then deliver until cancelled."""
        await self._switch_for_good()
        if self._webhook is None:
            return
        timeout = aiohttp.ClientTimeout(total=ANSWER_S)
        async with aiohttp.ClientSession(
            timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
        ) as http:
            while True:
                try:
                    await self._hold_the_lock(http, self._webhook)
                except AWAY as error:
                    log.warning("webhooks lost the database: %r", error)
                except asyncpg.PostgresError:
                    log.exception("a statement of the webhooks failed; they go on")
                await asyncio.sleep(RECONNECT_S)

    async def switch(self) -> None:
        """Enable the triggers where there is a webhook, else disable them and forget what waits."""
        on = self._webhook is not None
        if await self._database.value("webhook.switch", on):
            log.info("webhooks are %s", "on" if on else "off")

    async def _switch_for_good(self) -> None:
        for attempt in range(SWITCH_ATTEMPTS_MAX):
            try:
                await self.switch()
                return
            except (*AWAY, asyncpg.PostgresError) as error:
                # A table that is in use, or a schema that is not there yet.
                log.info("webhooks cannot be switched yet: %r", error)
            await asyncio.sleep(RECONNECT_S * (attempt + 1))
        log.error("webhooks could not be switched on or off; start this process again")

    async def _hold_the_lock(self, http: aiohttp.ClientSession, webhook: Webhook) -> None:
        settings: Any = SETTINGS | {
            "application_name": "lectern webhooks",
            "idle_session_timeout": str(round(LOCK_IDLE_MAX_S * 1000)),
        }
        connection = await asyncpg.connect(
            self._database.url, command_timeout=COMMAND_TIMEOUT_S, server_settings=settings
        )
        try:
            mine = False
            while True:
                # Also proves that the connection, and with it the lock, is still there.
                if not mine:
                    mine = await connection.fetchval(QUERIES["webhook.lock"], DELIVERY_LOCK)
                else:
                    waiting = await connection.fetchrow(
                        QUERIES["webhook.waiting"], WAITING_COUNTED_MAX
                    )
                    WAITING.set(waiting["events"] if waiting is not None else 0)
                    await self._turn(http, webhook)
                await asyncio.sleep(POLL_INTERVAL_S)
        finally:
            connection.terminate()

    async def _turn(self, http: aiohttp.ClientSession, webhook: Webhook) -> None:
        due = await self._database.rows("webhook.due", CLASSES_AT_ONCE_MAX)
        classes = [self._deliver(http, webhook, found["class_id"]) for found in due]
        # Each to its end: a class whose database call fails cancels no delivery of another.
        for outcome in await asyncio.gather(*classes, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    async def _deliver(self, http: aiohttp.ClientSession, webhook: Webhook, class_id: UUID) -> None:
        """Send a class's events in their order, as far as they are due and taken."""
        events = await self._database.rows("webhook.of_class", class_id, EVENTS_OF_CLASS_MAX)
        deadline = time.monotonic() + TURN_S
        for event in events:
            if not event["due"] or time.monotonic() > deadline:
                return
            refused = await _send(http, webhook, event)
            if refused is None:
                DELIVERIES.labels("taken").inc()
            elif event["attempts"] + 1 >= ATTEMPTS_MAX:
                DELIVERIES.labels("given_up").inc()
                log.error("webhook of class %s was given up: %s", class_id, refused)
            else:
                DELIVERIES.labels("failed").inc()
                log.warning("webhook of class %s failed: %s", class_id, refused)
                delay_s = backoff_s(event["attempts"], random.random())
                await self._database.rows("webhook.put_off", event["number"], delay_s)
                return
            await self._database.rows("webhook.delivered", [event["number"]])


def backoff_s(attempts: int, chance: float) -> float:
    """Return the pause after so many earlier failures; `chance` in [0, 1) spreads it by a fifth."""
    pause_s = min(BACKOFF_MIN_S * 2.0 ** min(attempts, 32), BACKOFF_MAX_S)
    return pause_s * (0.9 + 0.2 * chance)


def body_of(event: Mapping[str, Any]) -> bytes:
    """Return what is sent of an event: the same bytes at every try."""
    told = {
        "type": event["kind"],
        "timestamp": event["happened_at"].isoformat(),
        "data": json.loads(event["data"]),
    }
    return json.dumps(told, separators=(",", ":"), ensure_ascii=False).encode()


async def _send(http: aiohttp.ClientSession, webhook: Webhook, event: Any) -> str | None:
    """Return None where the event was taken, else what went wrong, without the URL: it is a secret."""
    body = body_of(event)
    headers = webhook.headers(f"evt_{event['event_id'].hex}", int(time.time()), body)
    try:
        async with http.post(
            webhook.url, data=body, headers=headers, allow_redirects=False
        ) as response:
            return None if 200 <= response.status < 300 else f"status {response.status}"
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        return type(error).__name__
