"""`lectern bench capacity --url`: a real deployment is loaded, and nobody who was not named."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ipaddress
import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from benchmarks.capacity import steps
from benchmarks.capacity.people import DOMAIN, Account, Session
from benchmarks.capacity.permission import Permission
from benchmarks.clients.sdp import read_answer
from benchmarks.registry import BenchmarkError
from tests.lectern.running import ROOT, Up, environment, free_port, run_lectern

# The first run builds the load generator.
pytestmark = pytest.mark.timeout(600)

FOREIGN = "127.0.0.9"
ANSWER = """v=0
a=ice-lite
m=video 9 UDP/TLS/RTP/SAVPF 96
a=ice-ufrag:abcd
a=ice-pwd:abcdefghijklmnopqrstuv
a=fingerprint:sha-256 {fingerprint}
a=candidate:1 1 udp 2130706431 {address} {port} typ host
a=ssrc:77 cname:x
"""
FINGERPRINT = ":".join(["AB"] * 32)


@pytest.fixture(scope="module")
def up() -> Iterator[Up]:
    home = Path(tempfile.mkdtemp(prefix="lectern-up-", dir="/tmp"))
    home.chmod(0o755)
    up = Up(home / "data")
    try:
        yield up.start()
    finally:
        up.stop()
        shutil.rmtree(home, ignore_errors=True)


def capacity(*options: str) -> list[str]:
    return [sys.executable, "-m", "lectern", "bench", "capacity", *options, "--json"]


def small(url: str) -> list[str]:
    few = ["--first", "4", "--most", "8", "--factor", "2", "--fps", "10", "--window", "1"]
    # Another's work on this machine is not what is tested.
    return ["--url", url, "--i-may-load", "127.0.0.1", *few, "--delay-ms", "5000"]


def test_a_deployment_is_loaded_step_by_step_and_left_as_it_was(up: Up) -> None:
    done = subprocess.run(capacity(*small(up.url)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["viewers"], found["limit"], found["host"]) == (8, "none", "127.0.0.1")
    assert [row["viewers"] for row in found["steps"]] == [4, 8]
    for row in found["steps"]:
        assert row["packets"] == row["viewers"] * 10 * 12
        assert (row["packets_lost"], row["packets_failed"]) == (0, 0)
        assert row["packets_opened"] > 0
        assert 0 < row["delay_ms_p50"] <= row["delay_ms_p99"]
        assert "node_cpu_share" not in row
    assert found["accounts_left"] == 0
    assert DOMAIN not in run_lectern("user", "list", "--data", str(up.data)).stdout


@pytest.mark.parametrize(
    ("number", "after_s"), [(signal.SIGINT, 0.0), (signal.SIGTERM, 0.0), (signal.SIGINT, 4.0)]
)
def test_accounts_are_deleted_when_it_is_interrupted(
    up: Up, number: signal.Signals, after_s: float
) -> None:
    command = capacity(*small(up.url), "--window", "60")
    running = subprocess.Popen(
        command,
        env=environment(),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        # Seats are taken by then.
        listed = [*command[:3], "user", "list", "--data", str(up.data)]
        while DOMAIN not in subprocess.run(listed, capture_output=True, text=True).stdout:
            assert running.poll() is None
        time.sleep(after_s)  # until it plays
        running.send_signal(number)
        out, told = running.communicate(timeout=30)
    finally:
        running.kill()
    assert running.returncode == 130, told
    found = json.loads(out)
    assert (found["partial"], found["accounts_left"]) == (True, 0)
    assert DOMAIN not in run_lectern("user", "list", "--data", str(up.data)).stdout


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--url", "{url}"], "named a second time: --i-may-load 127.0.0.1"),
        (["--url", "{url}", "--i-may-load", "127.0.0.2"], "named a second time"),
        (["--url", "{url}/api", "--i-may-load", "127.0.0.1"], "is the origin of a deployment"),
        (["--url", "http://192.0.2.1", "--i-may-load", "192.0.2.1"], "begin with https://"),
        (["--i-may-load", "127.0.0.1"], "there is no --url"),
    ],
)
def test_without_permission_nothing_is_sent(options: list[str], sentence: str) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(0)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        given = [text.format(url=url) for text in options]
        done = subprocess.run(capacity(*given), capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (2, "")
        assert sentence in done.stderr
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_media_goes_to_hosts_that_are_named_by_any_of_their_names() -> None:
    near, far = ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address(FOREIGN)
    by_name = Permission("http://localhost:1", ["LOCALHOST."])
    by_name.check([near])
    with pytest.raises(BenchmarkError, match=f"--i-may-load {FOREIGN}"):
        by_name.check([near, far])
    Permission("http://localhost:1", ["localhost", FOREIGN]).check([near, far])
    with pytest.raises(BenchmarkError, match="no single host"):
        Permission("http://localhost:1", ["localhost", "224.0.0.1"])


class Hostile:
    """A server that signs everybody up and sends their media to somebody else."""

    def __init__(self, media: tuple[str, int], location: str = "/live/sessions/n/s") -> None:
        self.port = free_port(socket.SOCK_STREAM)
        self.asked: list[tuple[str, str]] = []
        self.limited = 0  # sign-ups that are to be tried again
        self._answer = ANSWER.format(fingerprint=FINGERPRINT, address=media[0], port=media[1])
        self._location = location

    async def take(self, request: web.Request) -> web.Response:
        self.asked.append((request.method, request.path))
        if request.path == "/api/accounts":
            if self.limited:
                self.limited -= 1
                body = {"code": "rate_limited"}
                return web.json_response(body, status=429, headers={"Retry-After": "1"})
            return web.Response(status=201, headers={"Set-Cookie": "lectern_session=abc; Path=/"})
        if request.path == "/api/classes":
            return web.json_response({"id": "0" * 36}, status=201)
        if request.path.endswith("/start"):
            return web.json_response({"link": "http://x/j/token"})
        if request.path.endswith("/whip"):
            headers = {"Location": self._location}
            return web.Response(status=201, text=self._answer, headers=headers)
        return web.Response(status=204)

    @contextlib.contextmanager
    def serving(self) -> Iterator[str]:
        loop, end = asyncio.new_event_loop(), asyncio.Event()
        ready = threading.Event()

        async def serve() -> None:
            app = web.Application()
            app.router.add_route("*", "/{path:.*}", self.take)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", self.port).start()
            ready.set()
            await end.wait()
            await runner.cleanup()

        thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
        thread.start()
        try:
            assert ready.wait(10)
            yield f"http://127.0.0.1:{self.port}"
        finally:
            loop.call_soon_threadsafe(end.set)
            thread.join()
            loop.close()


def test_media_is_not_aimed_at_somebody_else() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as victim:
        victim.bind((FOREIGN, 0))
        victim.settimeout(0.3)
        hostile = Hostile(victim.getsockname())
        with hostile.serving() as url:
            done = subprocess.run(capacity(*small(url)), capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (2, "")
        assert f"wants media to go to {FOREIGN}" in done.stderr
        with pytest.raises(TimeoutError):
            victim.recv(1)
    # And all that was made is taken back.
    assert hostile.asked.count(("DELETE", "/api/me")) == 5


def test_where_nobody_can_join_that_is_the_limit() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        hostile = Hostile(silent.getsockname())
        with hostile.serving() as url:
            done = subprocess.run(capacity(*small(url)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["viewers"], found["limit"], found["accounts_left"]) == (0, "joins", 0)
    assert "1 clients have no keys" in done.stderr
    # The session that was opened is closed.
    assert ("DELETE", "/live/sessions/n/s") in hostile.asked


def test_whoever_is_to_wait_waits_and_goes_nowhere_else() -> None:
    hostile = Hostile((FOREIGN, 9), location="http://other.example/live/sessions/n/s")
    hostile.limited = 1
    with hostile.serving() as url:
        done = subprocess.run(capacity(*small(url)), capture_output=True, text=True)
    assert done.returncode == 2
    assert "asks to wait 1 s (rate_limited)" in done.stderr
    assert "no Location that can be used" in done.stderr


def test_what_an_answer_says_is_of_its_own_kind() -> None:
    good = ANSWER.format(fingerprint=FINGERPRINT, address="127.0.0.1", port=7000)
    assert read_answer(good).remote().port == 7000
    assert read_answer(good).ssrc == 77
    for old, new in (
        ("abcd", "ab cd node=127.0.0.9:1"),
        ("abcdefghijklmnopqrstuv", "short"),
        (FINGERPRINT, "AB:CD"),
        ("127.0.0.1", "host.example"),
        ("7000", "70000"),
    ):
        with pytest.raises(BenchmarkError):
            read_answer(good.replace(old, new))


def test_secrets_are_in_no_text() -> None:
    account = Account("bench@x.invalid", "student", "top-secret", "lectern_session=secret-too")
    answered = read_answer(ANSWER.format(fingerprint=FINGERPRINT, address="::1", port=1))
    told = repr(Session(account, answered, "/live/sessions/n/secret-as-well", 0.1))
    assert "bench@x.invalid" in told and "secret" not in told


def test_the_steps_grow_to_the_last() -> None:
    def of(**options: Any) -> list[int]:
        return steps(argparse.Namespace(**options))

    assert of(first=250, most=1000, factor=1.5) == [250, 375, 562, 843, 1000]
    assert of(first=1, most=3, factor=1.05) == [1, 2, 3]
    assert of(first=7, most=7, factor=2.0) == [7]
