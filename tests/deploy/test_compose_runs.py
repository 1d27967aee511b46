"""The compose file's commands and settings, run as processes: they find each other and serve.

Only addresses are changed: there are no containers here to give names to. PostgreSQL and Redis are the
tests' own.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.test_deploy_files import SECRET_OF, filled_in, ours
from tests.lectern.running import environment, free_media_port, free_port, wait_for

TOKEN = "a-token-for-the-metrics"
STOP_S = 20.0


class Machine:
    """The services of ours, each a process, at addresses of this machine."""

    def __init__(self, directory: Path, database_url: str, redis_url: str) -> None:
        self.port = free_port(socket.SOCK_STREAM)
        self.processes: dict[str, subprocess.Popen[str]] = {}
        media = free_media_port(2)
        self._directory = directory
        self._addresses = {
            name: f"127.0.0.1:{free_port(socket.SOCK_STREAM)}"
            for name in ("web:8081", "sfu-1:8082", "sfu-2:8082")
        } | {"7900": str(media), "7901": str(media + 1), ":8080/": f":{self.port}/"}
        self._servers = {"LECTERN_DATABASE_URL": database_url, "LECTERN_REDIS_URL": redis_url}

    def here(self, text: str) -> str:
        for there, address in self._addresses.items():
            text = text.replace(there, address)
        return text

    def start(self, name: str, service: dict[str, Any]) -> subprocess.Popen[str]:
        given = {k: filled_in(str(v)) for k, v in service["environment"].items()}
        given |= {k: v for k, v in self._servers.items() if k in given}
        if "LECTERN_METRICS_TOKEN" in given:
            given["LECTERN_METRICS_TOKEN"] = TOKEN
        given |= {"LECTERN_HOST": "127.0.0.1", "LECTERN_DATA": str(self._directory / name)}
        if name == "web":
            given["LECTERN_PORT"] = str(self.port)
        self.processes[name] = subprocess.Popen(
            [sys.executable, "-m", "lectern", *(self.here(part) for part in service["command"])],
            env=environment() | given,
            cwd=self._directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return self.processes[name]

    def get(self, path: str) -> bytes:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}")
        request.add_header("Authorization", f"Bearer {TOKEN}")
        with urllib.request.urlopen(request, timeout=10) as answer:
            body: bytes = answer.read()
            return body

    def nodes(self) -> list[dict[str, Any]]:
        try:
            found: list[dict[str, Any]] = json.loads(self.get("/metrics/nodes"))
        except OSError:
            return []
        return found

    def said(self) -> str:
        """End what still runs and return what everybody said."""
        text = ""
        for name, process in self.processes.items():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                text += f"{name}:\n{process.communicate(timeout=STOP_S)[0]}"
            except subprocess.TimeoutExpired:
                process.kill()
                text += f"{name} did not stop\n"
        return text


@pytest.fixture
def machine(tmp_path: Path, database_url: str, redis_url: str) -> Iterator[Machine]:
    made = Machine(tmp_path, database_url, redis_url)
    yield made
    made.said()


@pytest.mark.long
@pytest.mark.timeout(150)
def test_two_nodes_serve_behind_one_web(machine: Machine) -> None:
    services = dict(ours())
    migrate = machine.start("migrate", services.pop("migrate"))
    assert migrate.wait(60) == 0
    for name, service in services.items():
        machine.start(name, service)
    try:
        wait_for(lambda: len(machine.nodes()) == 2, 60)
    except AssertionError:
        raise AssertionError(machine.said()) from None
    assert json.loads(machine.get("/readyz")) == {"status": "ready"}
    assert sorted(node["labels"]["instance"] for node in machine.nodes()) == sorted(
        machine.here(f"http://{name}:8082") for name in ("sfu-1", "sfu-2")
    )
    for node in machine.nodes():
        text = machine.get(node["labels"]["__metrics_path__"]).decode()
        assert "lectern_node_registered 1.0" in text
    health = [machine.here(part) for part in services["web"]["healthcheck"]["test"][1:]]
    assert subprocess.run([sys.executable, *health[1:]], timeout=30).returncode == 0
    said = machine.said()
    assert {p.returncode for p in machine.processes.values()} == {0}, said
    lines = [line for line in said.splitlines() if line.startswith("{")]
    assert len(lines) > 5 and all(json.loads(line)["level"] != "error" for line in lines), said
    secrets = (TOKEN, SECRET_OF["LECTERN_CLUSTER_SECRET"])
    assert not [secret for secret in secrets if re.search(re.escape(secret), said)]
    assert os.listdir(machine._directory) == [], "the containers' file system is read-only"
