"""The way from nothing to a public server, in docs/operations.md, leads there: its commands are run.

What belongs to the machine and not to Lectern (packages, users, systemd, the name) is stood in for; every
other command runs as it is written.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lectern.running import environment, free_media_port, free_port, lives, wait_for

ROOT = Path(__file__).resolve().parents[2]
SECTION = re.compile(r"^## From nothing to a public server$(.*?)^## ", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
STOOD_IN_FOR = ("apt-get", "useradd", "chown", "make")
BLOCKS_MIN = 6

# Does what systemd does with the unit that was installed: its environment, its command.
SYSTEMCTL = """#!{python}
import os, re, subprocess, sys
if sys.argv[1:] != ["enable", "--now", "lectern"]:
    sys.exit(sys.argv[1:] != ["daemon-reload"])
text = open("{etc}/systemd/system/lectern.service").read()
settings = re.findall("^Environment=(.*)$", text, re.M)
settings += open(re.findall("^EnvironmentFile=(.*)$", text, re.M)[0]).read().split()
command = re.findall("^ExecStart=(.*)$", text, re.M)[0].split()
log = open("{home}/log", "w")
made = subprocess.Popen(command, env=os.environ | dict(s.split("=", 1) for s in settings),
                        stdout=log, stderr=log, start_new_session=True)
open("{home}/pid", "w").write(str(made.pid))
"""


@pytest.fixture
def home() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="lectern-nothing-", dir="/tmp"))
    made.chmod(0o755)
    yield made
    if (made / "pid").exists():
        pid = int((made / "pid").read_text())
        os.kill(pid, signal.SIGTERM)
        wait_for(lambda: not lives(pid), 60)
    shutil.rmtree(made)


def blocks() -> list[str]:
    section = SECTION.search((ROOT / "docs" / "operations.md").read_text())
    assert section is not None
    found = BLOCK.findall(section[1])
    assert len(found) >= BLOCKS_MIN
    return found


@pytest.mark.timeout(180)
def test_a_newcomer_reaches_a_tls_server_with_two_nodes(home: Path) -> None:
    etc, programs = home / "etc", home / "bin"
    (etc / "systemd" / "system").mkdir(parents=True)
    programs.mkdir()
    for name in STOOD_IN_FOR:
        _program(programs / name, "#!/bin/sh\nexit 0\n")
    values = {"python": sys.executable, "etc": etc, "home": home}
    _program(programs / "systemctl", SYSTEMCTL.format(**values))
    port, media = free_port(socket.SOCK_STREAM), free_media_port(2)
    places = {
        "/opt/lectern/.venv/bin/lectern": f"{sys.executable} -m lectern",
        "/opt/lectern": str(ROOT),
        "/etc/": f"{etc}/",
        "/var/lib/lectern": str(home / "data"),
        "LECTERN_PORT=443": f"LECTERN_PORT={port}",
        "LECTERN_UDP_PORT=7900": f"LECTERN_UDP_PORT={media}",
        "https://class.example.org/": f"https://localhost:{port}/",
    }
    said = []
    for block in blocks():
        if "sh.rustup.rs" in block:
            block = "\n".join(line for line in block.splitlines() if "rustup" not in line)
        for place, ours in places.items():
            block = block.replace(place, ours)
        if "systemctl" in block:
            block = _with_unit(block, places, home)
        done = subprocess.run(
            ["sh", "-eu", "-c", block],
            cwd=home,
            env=environment() | {"PATH": f"{programs}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=120,
        )
        log = (home / "log").read_text() if (home / "log").exists() else ""
        assert done.returncode == 0, block + done.stdout + done.stderr + log
        said.append(done.stdout)
    ready, targets = said[-1].split("[", 1)
    assert json.loads(ready) == {"status": "ready"}
    if len(json.loads("[" + targets)) != 2:  # the second node is a moment later, as for everybody
        wait_for(lambda: len(_targets(home, etc, port)) == 2, 30)
    assert len(_targets(home, etc, port)) == 2


def _with_unit(block: str, places: dict[str, str], home: Path) -> str:
    """Copy the unit with the places of this test in it."""
    unit = home / "lectern.service"
    text = (ROOT / "deploy" / "systemd" / "lectern.service").read_text()
    for place, ours in places.items():
        text = text.replace(place, ours)
    unit.write_text(text)
    return block.replace(str(ROOT / "deploy" / "systemd" / "lectern.service"), str(unit))


def _targets(home: Path, etc: Path, port: int) -> list[object]:
    token = re.findall(r"METRICS_TOKEN=(\w+)", (etc / "lectern" / "lectern.env").read_text())[0]
    done = subprocess.run(
        [
            *("curl", "--silent", "--fail", "--cacert", str(etc / "lectern" / "cert.pem")),
            *("--connect-to", f"class.example.org:443:127.0.0.1:{port}"),
            *("--header", f"Authorization: Bearer {token}"),
            "https://class.example.org/metrics/nodes",
        ],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr + (home / "log").read_text()
    found: list[object] = json.loads(done.stdout)
    return found


def _program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)
