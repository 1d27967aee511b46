"""Credentials for a TURN server go to who is signed in; reports of pages are bounded and counted."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from control import REGISTRY, Problem
from signaling import Signaling, Turn
from signaling.allowance import ACCOUNTS_MAX, Allowance
from signaling.reports import BURST, FIELDS, REFILL_S, REPORT_BYTES_MAX
from signaling.service import OFFERS_BURST
from signaling.turn import TTL_S
from tests.signaling.fake_control import LINK, FakeControl, problems

URLS = ("turn:turn.example.org:3478?transport=udp", "turns:turn.example.org:443")
SIGNED_IN = {"X-Account": "student"}


@asynccontextmanager
async def site(turn: Turn | None = None) -> AsyncIterator[TestClient[Any, Any]]:
    app = web.Application(middlewares=[problems])
    async with Signaling(FakeControl(), turn) as signaling:
        signaling.add_routes(app)
        async with TestClient(TestServer(app)) as client:
            yield client


async def test_credentials_are_what_the_turn_server_computes_itself() -> None:
    async with site(Turn(URLS, "shared secret")) as client:
        async with client.get("/live/ice-servers", headers=SIGNED_IN) as response:
            assert response.headers["Cache-Control"] == "no-store"
            told = await response.json()
    (server,) = told["iceServers"]
    assert tuple(server["urls"]) == URLS
    expiry, nonce = server["username"].split(":")
    assert abs(int(expiry) - time.time() - TTL_S) < 60 and told["ttl_s"] == TTL_S
    assert len(nonce) == 16 and "student" not in server["username"]
    # As coturn does: draft-uberti-behave-turn-rest-00, section 2.2.
    mac = hmac.new(b"shared secret", server["username"].encode(), hashlib.sha1).digest()
    assert server["credential"] == base64.b64encode(mac).decode()


async def test_a_stranger_gets_no_credentials() -> None:
    async with site(Turn(URLS, "shared secret")) as client:
        async with client.get("/live/ice-servers") as response:
            assert response.status == 401
            assert "credential" not in await response.text()


async def test_without_a_turn_server_the_list_is_empty() -> None:
    async with site() as client:
        async with client.get("/live/ice-servers", headers=SIGNED_IN) as response:
            assert (await response.json())["iceServers"] == []


def taken() -> float:
    return REGISTRY.get_sample_value("lectern_page_reports_total", {"outcome": "taken"}) or 0.0


def frozen_s() -> float:
    return REGISTRY.get_sample_value("lectern_page_frozen_seconds_total") or 0.0


async def test_a_report_is_added_to_the_sums() -> None:
    before, frozen = taken(), frozen_s()
    async with site() as client:
        report = {"frozen_ms": 250, "freezes": 1, "watched_ms": 1000}
        async with client.post("/live/reports", json=report, headers=SIGNED_IN) as response:
            assert response.status == 204
    assert taken() == before + 1
    assert frozen_s() == pytest.approx(frozen + 0.25)


BAD = {
    "no JSON": b"{",
    "a list": b"[]",
    "empty": b"{}",
    "unknown field": b'{"class_id": 1}',
    "negative": b'{"freezes": -1}',
    "too much": json.dumps({"frozen_ms": FIELDS["frozen_ms"] + 1}).encode(),
    "a fraction": b'{"freezes": 1.5}',
    "a truth": b'{"freezes": true}',
    "infinite": b'{"watched_ms": Infinity}',
    "no text": b"\xff\xfe",
    "deep": b"[" * 900,
}


@pytest.mark.parametrize("what", BAD)
async def test_a_bad_report_moves_nothing(what: str) -> None:
    before, frozen = taken(), frozen_s()
    headers = SIGNED_IN | {"Content-Type": "application/json"}
    async with site() as client:
        async with client.post("/live/reports", data=BAD[what], headers=headers) as response:
            assert response.status == 422
    assert (taken(), frozen_s()) == (before, frozen)


async def test_a_long_report_and_a_stranger_are_refused() -> None:
    headers = {"Content-Type": "application/json"}
    async with site() as client:
        long = b'{"freezes": 1' + b" " * REPORT_BYTES_MAX + b"}"
        async with client.post("/live/reports", data=long, headers=headers | SIGNED_IN) as response:
            assert response.status == 413
        async with client.post("/live/reports", data=b"{}", headers=headers) as response:
            assert response.status == 401
        async with client.post("/live/reports", data="x", headers=SIGNED_IN) as response:
            assert response.status == 415


async def test_an_account_that_reports_without_end_is_slowed_and_others_are_not() -> None:
    async with site() as client:
        for number in range(BURST + 1):
            async with client.post(
                "/live/reports", json={"freezes": 0}, headers=SIGNED_IN
            ) as response:
                assert response.status == (204 if number < BURST else 429)
        assert int(response.headers["Retry-After"]) == REFILL_S
        async with client.post(
            "/live/reports", json={"freezes": 0}, headers={"X-Account": "another"}
        ) as response:
            assert response.status == 204


async def test_an_account_that_offers_without_end_is_slowed_before_its_offer_is_read() -> None:
    headers = SIGNED_IN | {"Content-Type": "application/sdp"}
    path = f"/live/links/{LINK}/whep"
    async with site() as client:
        statuses = []
        for _ in range(OFFERS_BURST + 3):
            async with client.post(path, data="v=0", headers=headers) as response:
                statuses.append(response.status)
        assert statuses[:OFFERS_BURST] == [400] * OFFERS_BURST
        assert statuses[-1] == 429 and int(response.headers["Retry-After"]) == 1
        other = headers | {"X-Account": "another"}
        async with client.post(path, data="v=0", headers=other) as response:
            assert response.status == 400


def left(allowance: Allowance, account: UUID) -> bool:
    try:
        allowance.take(account)
    except Problem as problem:
        assert problem.code == "rate_limited" and 0 < (problem.retry_after_s or 0) <= 15
        return False
    return True


def test_what_was_used_up_comes_back_with_time_and_memory_is_bounded() -> None:
    now = [0.0]
    allowance = Allowance(3, 15.0, clock=lambda: now[0])
    account = uuid4()
    assert [left(allowance, account) for _ in range(4)] == [True] * 3 + [False]
    now[0] += 15.0
    assert [left(allowance, account) for _ in range(2)] == [True, False]
    now[0] += 1e6
    assert [left(allowance, account) for _ in range(4)] == [True] * 3 + [False]
    for _ in range(ACCOUNTS_MAX + 10):
        left(allowance, uuid4())
    assert len(allowance) == ACCOUNTS_MAX
