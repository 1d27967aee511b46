"""What a whole run says about itself: figures that move with what happens, and lines without secrets."""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import aioice.ice
import psycopg
import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families

from lectern.embedded import Places, Postgres
from tests.lectern.running import Up, environment
from tests.lectern.watching import link_of, student, watch

pytestmark = [pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="module")]

TOKEN = "metrics-" + secrets.token_hex(16)
STUDENT = {
    "email": "zuleika.unmistakable@lectern.example",
    "name": "Zuleika Unmistakable",
    "password": "pw-" + secrets.token_hex(12),
    "role": "student",
}
Figures = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@dataclass
class Run:
    """What was seen of one run."""

    url: str
    before: Figures
    during: Figures
    after: Figures
    lines: list[str]
    secrets: dict[str, str] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)

    def moved(self, name: str, **labels: str) -> float:
        """Return by how much a counter grew."""
        return value(self.after, name, **labels) - value(self.before, name, **labels)


def value(figures: Figures, name: str, **labels: str) -> float:
    """Return the sum of a sample's series that have these labels."""
    found = [
        v for (n, own), v in figures.items() if n == name and labels.items() <= dict(own).items()
    ]
    return sum(found)


async def scrape(http: aiohttp.ClientSession, url: str) -> Figures:
    """Read web's figures, and those of every node that it names, as Prometheus would."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    targets: list[str] = []
    async with asyncio.timeout(20):
        while len(targets) < 2:  # the second node may register a moment later
            async with http.get(f"{url}/metrics/nodes", headers=headers) as response:
                assert response.status == 200
                targets = [t["labels"]["__metrics_path__"] for t in await response.json()]
    figures: Figures = {}
    for path in ("/metrics", *targets):
        async with http.get(url + path, headers=headers) as response:
            assert response.status == 200 and "version=" in response.headers["Content-Type"]
            text = await response.text()
        for family in text_string_to_metric_families(text):
            assert family.documentation, family.name
            for sample in family.samples:
                key = sample.name, (*sorted(sample.labels.items()), ("of", path))
                assert key not in figures, "a series is there twice"
                figures[key] = sample.value
    return figures


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def run() -> AsyncIterator[Run]:
    home = Path(tempfile.mkdtemp(prefix="lectern-seen-", dir="/tmp"))
    home.chmod(0o755)
    up = Up(home / "data", "--nodes", "2", "--log-format", "json", "--log-level", "debug", nodes=2)
    up.variables = {"LECTERN_METRICS_TOKEN": TOKEN}
    addresses = aioice.ice.get_host_addresses
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]
    try:
        await asyncio.to_thread(up.start)
        yield await _story(up)
    finally:
        aioice.ice.get_host_addresses = addresses
        up.stop()
        shutil.rmtree(home)


async def _story(up: Up) -> Run:
    demo = subprocess.Popen(
        [sys.executable, "-m", "lectern", "demo", "--server", up.url, "--data", str(up.data)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        async with student(up.url) as http:
            before = await scrape(http, up.url)
            link = await asyncio.to_thread(link_of, demo)
            watching = asyncio.create_task(watch(http, up.url, link, STUDENT))
            during = await _until(http, up.url, lambda f: value(f, "lectern_viewers") == 1)
            await watching
            known = await _go_wrong(http, up.url, link)
            cookies = [morsel.value for morsel in http.cookie_jar]
            assert cookies
            demo.send_signal(signal.SIGINT)
            await asyncio.to_thread(demo.communicate, None, 15)
            after = await _until(
                http, up.url, lambda f: value(f, "lectern_sessions_ended_total") == 2
            )
    finally:
        demo.kill()
        demo.communicate()
    kept = json.loads((up.data / "demo-accounts.json").read_text())
    run = Run(up.url, before, during, after, list(up.lines))
    run.secrets = known | {
        "the metrics' token": TOKEN,
        "a session": cookies[0],
        "the link": link.rpartition("/")[2],
        "a password": STUDENT["password"],
        "a name": STUDENT["name"].split()[1],
        "an address": STUDENT["email"],
        "the demo's accounts": next(iter(kept.values()))["email"],
        "the demo's password": next(iter(kept.values()))["password"],
        "the cluster's secret": (up.data / "cluster-secret").read_text().strip(),
    }
    _add_what_the_database_knows(up, run)
    return run


async def _go_wrong(http: aiohttp.ClientSession, url: str, link: str) -> dict[str, str]:
    """Do what is refused, since errors are what is logged; return the secrets that were sent."""
    token = link.rpartition("/")[2]
    sdp = {"Content-Type": "application/sdp"}
    async with http.post(f"{url}/live/links/{token}/whep", data="v=0", headers=sdp) as refused:
        assert refused.status == 400
    async with (
        aiohttp.ClientSession() as stranger,
        stranger.post(f"{url}/live/links/{token}/whep", data="v=0", headers=sdp) as refused,
    ):
        assert refused.status == 401
    wrong = {"email": "wrong.address@lectern.example", "password": "wrong-password-7"}
    async with http.post(f"{url}/api/session", json=wrong) as refused:
        assert refused.status == 401
    async with http.post(f"{url}/api/tokens", json={"name": "for a program"}) as made:
        bearer = (await made.json())["token"]
    async with http.get(f"{url}/api/links/not-a-link-at-all") as refused:
        assert refused.status == 404
    report = {"first_frame_ms": 300, "watched_ms": 60_000, "freezes": 2, "frozen_ms": 1500}
    async with http.post(f"{url}/live/reports", json=report) as taken:
        assert taken.status == 204
    return {
        "a wrong address": wrong["email"],
        "a wrong password": wrong["password"],
        "a wrong link": "not-a-link-at-all",
        "an API token": bearer,
    }


async def _until(http: aiohttp.ClientSession, url: str, enough: Any) -> Figures:
    async with asyncio.timeout(40):
        while not enough(figures := await scrape(http, url)):
            await asyncio.sleep(0.1)
    return figures


def _add_what_the_database_knows(up: Up, run: Run) -> None:
    """Ids that must be in the lines, and the nodes' secrets, which must not."""
    url = Postgres.running_url(Places.prepare(up.data))
    with psycopg.connect(url) as connection:
        for number, (secret,) in enumerate(connection.execute("SELECT secret FROM node")):
            run.secrets[f"node {number}'s secret"] = secret
        found = connection.execute("SELECT class_id, session_id FROM attendance").fetchone()
        assert found is not None
        run.ids = {"class_id": str(found[0]), "session_id": str(found[1])}


async def test_people_and_packets_are_counted(run: Run) -> None:
    assert value(run.before, "lectern_viewers") == value(run.before, "lectern_publishers") == 0
    for name in ("lectern_viewers", "lectern_publishers", "lectern_classes_live"):
        assert value(run.during, name) == 1, name
    assert value(run.during, "lectern_sessions", role="viewer", state="connected") == 1
    assert value(run.after, "lectern_sessions") == value(run.after, "lectern_classes_live") == 0
    for name in (
        "lectern_media_packets_received_total",
        "lectern_media_packets_sent_total",
        "lectern_publisher_packets_received_total",
        "lectern_native_cpu_seconds_total",
    ):
        assert run.moved(name) > 0, name
    assert run.moved("lectern_received_bytes_total", transport="udp") > 10_000
    assert run.moved("lectern_sent_bytes_total", transport="udp") > 10_000
    assert run.moved("lectern_sessions_opened_total") == 2
    assert run.moved("lectern_sessions_ended_total", role="publisher", reason="left") == 1


async def test_joins_and_requests_are_counted_by_what_became_of_them(run: Run) -> None:
    for outcome, count in (("ok", 1), ("bad_offer", 1), ("not_signed_in", 1)):
        assert run.moved("lectern_joins_total", role="viewer", outcome=outcome) == count
    assert run.moved("lectern_joins_total", role="publisher", outcome="ok") == 1
    assert run.moved("lectern_admission_duration_seconds_count") == 1
    assert 0 < run.moved("lectern_admission_duration_seconds_sum") < 5
    route = "/live/links/{token}/whep"
    whep = {"method": "POST", "route": route}
    assert run.moved("lectern_http_requests_total", status="201", **whep) == 1
    assert run.moved("lectern_http_requests_total", status="400", **whep) == 1
    assert run.moved("lectern_http_request_duration_seconds_count", route=route) == 3


async def test_beats_and_lag_are_counted(run: Run) -> None:
    assert run.moved("lectern_node_beats_total", outcome="accepted") >= 2
    assert run.moved("lectern_beats_total", outcome="accepted") >= 2
    assert run.moved("lectern_beats_total", outcome="refused") == 0
    assert run.moved("lectern_event_loop_lag_seconds_count") > 3
    assert value(run.during, "lectern_node_registered") == 2
    assert 0 <= value(run.after, "lectern_native_loop_lag_seconds") < 5


async def test_pages_reports_are_added_up(run: Run) -> None:
    assert run.moved("lectern_page_first_frame_seconds_count") == 1
    assert run.moved("lectern_page_first_frame_seconds_sum") == pytest.approx(0.3)
    assert run.moved("lectern_page_freezes_total") == 2
    assert run.moved("lectern_page_frozen_seconds_total") == pytest.approx(1.5)
    assert run.moved("lectern_page_watched_seconds_total") == 60


async def test_no_label_holds_an_id_or_a_secret(run: Run) -> None:
    """A label with a value for every class or person makes a time series for each."""
    told = {v for (_, labels) in run.after for k, v in labels if k not in ("of", "node")}
    for secret in (*run.secrets.values(), *run.ids.values()):
        assert not [v for v in told if secret in v]
    assert len(run.after) < 3000


async def test_every_line_is_json_and_names_class_and_session(run: Run) -> None:
    lines = [json.loads(line) for line in run.lines]
    assert len(lines) > 20
    for line in lines:
        assert {"time", "level", "logger", "process", "message"} <= line.keys()
    assert {line["process"] for line in lines} == {"up", "web", "sfu"}
    ended = [line for line in lines if line.get("session_id") == run.ids["session_id"]]
    assert any(line.get("class_id") == run.ids["class_id"] for line in ended)


async def test_no_line_holds_a_secret_or_a_person(run: Run) -> None:
    text = "\n".join(run.lines)
    assert run.ids["session_id"] in text, "this run's lines are not here"
    assert [what for what, secret in run.secrets.items() if secret in text] == []


async def test_only_the_tokens_holder_reads_figures(run: Run) -> None:
    async with aiohttp.ClientSession() as http:
        for path in ("/metrics", "/metrics/nodes", f"/metrics/nodes/{uuid4()}"):
            for bearer in ("", "Bearer ", "Bearer wrong", f"Basic {TOKEN}"):
                async with http.get(run.url + path, headers={"Authorization": bearer}) as refused:
                    assert refused.status == 401
            async with http.get(
                run.url + path, headers={"Authorization": f"Bearer {TOKEN}"}
            ) as answered:
                assert answered.status == (404 if path.count("/") == 3 else 200)
