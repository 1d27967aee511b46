"""Guessing is slow, a school behind one address is not, and Redis may be away."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator

import pytest

from control import Problem, throttle
from control.ids import uuid7
from control.passwords import NICENESS, THREADS_MAX, WAITING_MAX, Passwords
from control.redis_map import RedisMap
from control.throttle import CLASSES_MAX, FAILURES_MAX, FAILURES_OF_MANY_MAX, Throttle

SCHOOL = "192.0.2.7"


@pytest.fixture
async def throttling(redis_url: str) -> AsyncIterator[Throttle]:
    known = RedisMap(redis_url)
    yield Throttle(known, on=True)
    await known.close()


async def tries(throttling: Throttle, who: str, address: str, most: int = 50) -> int:
    """Fail until it is refused; returns how many were judged."""
    for done in range(most):
        try:
            await throttling.try_sign_in(who, address)
        except Problem as problem:
            assert (problem.status, problem.code) == (429, "rate_limited")
            assert problem.retry_after_s
            return done
        await throttling.failed_sign_in(address)
    return most


async def test_one_who_fails_locks_out_nobody_else(throttling: Throttle) -> None:
    assert await tries(throttling, "guesser", SCHOOL) == FAILURES_MAX
    for number in range(300):
        await throttling.try_sign_in(f"pupil{number}", SCHOOL)
        await throttling.signed_in(f"pupil{number}", SCHOOL)
    await throttling.try_sign_in("guesser", "198.51.100.1")


async def test_tries_at_once_count_before_they_are_judged(throttling: Throttle) -> None:
    attempts = [throttling.try_sign_in("ada", SCHOOL) for _ in range(40)]
    outcomes = await asyncio.gather(*attempts, return_exceptions=True)
    assert outcomes.count(None) == FAILURES_MAX


async def test_a_success_forgets_the_failures(throttling: Throttle) -> None:
    for _ in range(3):
        for _ in range(FAILURES_MAX - 1):
            await throttling.try_sign_in("ada", SCHOOL)
            await throttling.failed_sign_in(SCHOOL)
        await throttling.try_sign_in("ada", SCHOOL)
        await throttling.signed_in("ada", SCHOOL)


async def test_guessing_at_many_accounts_leaves_each_a_try(
    throttling: Throttle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "ADDRESS_FAILURES_MAX", 20)
    for number in range(20):
        await throttling.try_sign_in(f"victim{number}", SCHOOL)
        await throttling.failed_sign_in(SCHOOL)
    assert await tries(throttling, "one more", SCHOOL) == FAILURES_OF_MANY_MAX
    await throttling.try_sign_in("a pupil who knows the password", SCHOOL)
    assert await tries(throttling, "one more", "198.51.100.1") == FAILURES_MAX


async def test_successes_of_an_address_are_limited_generously(
    throttling: Throttle, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert throttle.SIGN_INS_MAX >= 2000 and throttle.SIGN_UPS_MAX >= 1000
    monkeypatch.setattr(throttle, "SIGN_INS_MAX", 5)
    monkeypatch.setattr(throttle, "SIGN_UPS_MAX", 5)
    for number in range(5):
        await throttling.try_sign_in(f"pupil{number}", SCHOOL)
        await throttling.signed_in(f"pupil{number}", SCHOOL)
        await throttling.check_sign_up(SCHOOL)
    for attempt in (throttling.try_sign_in("pupil5", SCHOOL), throttling.check_sign_up(SCHOOL)):
        with pytest.raises(Problem, match="rate_limited"):
            await attempt
    await throttling.check_sign_up("198.51.100.1")


async def test_new_passwords_are_limited_per_account(throttling: Throttle) -> None:
    account_id = uuid7()
    for _ in range(throttle.PASSWORD_CHANGES_MAX):
        await throttling.check_password_change(account_id)
    with pytest.raises(Problem, match="rate_limited"):
        await throttling.check_password_change(account_id)
    await throttling.check_password_change(uuid7())


async def test_an_ipv6_network_is_one_address(throttling: Throttle) -> None:
    judged = [await tries(throttling, "ada", f"2001:db8:0:1::{n:x}", 3) for n in range(1, 7)]
    assert sum(judged) == FAILURES_MAX
    assert await tries(throttling, "ada", "2001:db8:0:2::1") == FAILURES_MAX
    assert await tries(throttling, "bob", "::ffff:192.0.2.9") == FAILURES_MAX
    assert await tries(throttling, "bob", "192.0.2.9") == 0


async def test_without_redis_local_buckets_count(caplog: pytest.LogCaptureFixture) -> None:
    away = RedisMap("redis://127.0.0.1:9/0")
    throttling = Throttle(away, on=True)
    assert await tries(throttling, "guesser", SCHOOL) == FAILURES_MAX
    await throttling.try_sign_in("ada", SCHOOL)
    await throttling.signed_in("ada", SCHOOL)
    assert caplog.text.count("Redis is away") == 1  # not for each of them
    await away.close()


async def test_local_buckets_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "LOCAL_BUCKETS_MAX", 50)
    away = RedisMap("redis://127.0.0.1:9/0")
    throttling = Throttle(away, on=True)
    for number in range(200):
        await throttling.try_sign_in(f"x{number}", SCHOOL)
    assert len(throttling._local) == 50
    await away.close()


async def test_a_bucket_in_redis_always_expires(redis_url: str) -> None:
    known = RedisMap(redis_url)
    assert [await known.count("b", 100) for _ in range(3)] == [1, 2, 3]
    assert 0 < await known._redis.ttl("{throttle:b}") <= 100
    await known.close()


async def test_new_classes_are_limited_per_account(throttling: Throttle) -> None:
    account_id = uuid7()
    for _ in range(CLASSES_MAX):
        await throttling.check_new_class(account_id)
    with pytest.raises(Problem, match="rate_limited"):
        await throttling.check_new_class(account_id)
    await throttling.check_new_class(uuid7())


async def test_password_work_is_bounded_and_steps_back() -> None:
    passwords = Passwords()
    try:
        inside = [passwords.verify(None, "x") for _ in range(WAITING_MAX + 8)]
        outcomes = await asyncio.gather(*inside, return_exceptions=True)
        refused = [o for o in outcomes if isinstance(o, Problem)]
        assert [(p.code, p.status) for p in refused] == [("try_again", 503)] * 8
        threads = [t for t in threading.enumerate() if t.name.startswith("password")]
        assert 0 < len(threads) <= THREADS_MAX
        nice = {os.getpriority(os.PRIO_PROCESS, t.native_id or 0) for t in threads}
        assert nice == {min(19, NICENESS)}
        assert os.getpriority(os.PRIO_PROCESS, 0) <= NICENESS
        # Those who were refused left nothing behind.
        assert await passwords.verify(await passwords.hash("y"), "y")
    finally:
        passwords.close()
