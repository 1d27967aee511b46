"""The way from nothing to a public server, in docs/operations.md, leads there: its commands are run.

What belongs to the machine and not to Lectern (packages, users, systemd, the name) is stood in for; every
other command runs as it is written. The short run takes this checkout for /opt/lectern; the long one unpacks
the sources and builds them there, as a newcomer does.
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
from typing import Any

import pytest

from tests.lectern.running import environment, free_media_port, free_port, lives, wait_for

ROOT = Path(__file__).resolve().parents[2]
SECTION = re.compile(r"^## From nothing to a public server$(.*?)^## ", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OPERATOR = re.compile(r"^    (LECTERN_DATA=.* user make-operator) (\S+)$", re.MULTILINE)
STOOD_IN_FOR = ("apt-get", "useradd", "chown")
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
    follow(home, ROOT, (*STOOD_IN_FOR, "make"), f"{sys.executable} -m lectern", block_s=120)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_newcomer_builds_it_in_a_clean_directory_as_it_is_written(home: Path) -> None:
    sources = home / "opt"
    sources.mkdir()
    archive = home / "sources.tar"
    subprocess.run(["git", "archive", "--output", archive, "HEAD"], cwd=ROOT, check=True)
    subprocess.run(["tar", "-xf", archive, "-C", sources], check=True)
    follow(home, sources, STOOD_IN_FOR, f"{sources}/.venv/bin/lectern", block_s=1500)


def follow(
    home: Path, sources: Path, stood_in_for: tuple[str, ...], command: str, *, block_s: float
) -> None:
    """Run the section's commands, block by block, with the places of this test in them."""
    etc, programs = home / "etc", home / "bin"
    (etc / "systemd" / "system").mkdir(parents=True)
    programs.mkdir()
    for name in stood_in_for:
        _program(programs / name, "#!/bin/sh\nexit 0\n")
    values = {"python": sys.executable, "etc": etc, "home": home}
    _program(programs / "systemctl", SYSTEMCTL.format(**values))
    port, media = free_port(socket.SOCK_STREAM), free_media_port(2)
    places = {
        "/opt/lectern/.venv/bin/lectern": command,
        "/opt/lectern": str(sources),
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
            block = _with_unit(block, places, home, sources)
        done = subprocess.run(
            ["sh", "-eu", "-c", block],
            cwd=home,
            env=environment() | {"PATH": f"{programs}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=block_s,
        )
        log = (home / "log").read_text() if (home / "log").exists() else ""
        assert done.returncode == 0, block + done.stdout + done.stderr + log
        said.append(done.stdout)
    ready, targets = said[-1].split("[", 1)
    assert json.loads(ready) == {"status": "ready"}
    if len(json.loads("[" + targets)) != 2:  # the second node is a moment later, as for everybody
        wait_for(lambda: len(_targets(home, etc, port)) == 2, 30)
    assert len(_targets(home, etc, port)) == 2
    _become_an_operator(places, etc, port)


def _become_an_operator(places: dict[str, str], etc: Path, port: int) -> None:
    """Sign up, run the section's last command, and see nodes on the operators' page."""
    (words,) = OPERATOR.findall((ROOT / "docs" / "operations.md").read_text())
    command, email = words
    for place, ours in places.items():
        command = command.replace(place, ours)
    cookies = str(etc / "cookies")

    def ask(path: str, *more: str) -> dict[str, Any]:
        done = subprocess.run(
            [
                *(
                    "curl",
                    "--silent",
                    "--show-error",
                    "--cacert",
                    str(etc / "lectern" / "cert.pem"),
                ),
                *("--connect-to", f"class.example.org:443:127.0.0.1:{port}"),
                *("--cookie", cookies, "--cookie-jar", cookies, *more),
                f"https://class.example.org{path}",
            ],
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    person = {"email": email, "password": "of my own choice", "name": "I", "role": "teacher"}
    made = ask("/api/accounts", "--json", json.dumps(person))
    assert made["is_operator"] is False, made
    assert ask("/api/operator")["code"] == "not_operator"
    done = subprocess.run(
        ["sh", "-eu", "-c", f"{command} {email}"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    seen = ask("/api/operator")
    assert [node["state"] for node in seen["nodes"]] == ["serving", "serving"]


def _with_unit(block: str, places: dict[str, str], home: Path, sources: Path) -> str:
    """Copy the unit with the places of this test in it."""
    unit = home / "lectern.service"
    text = (ROOT / "deploy" / "systemd" / "lectern.service").read_text()
    for place, ours in places.items():
        text = text.replace(place, ours)
    unit.write_text(text)
    return block.replace(str(sources / "deploy" / "systemd" / "lectern.service"), str(unit))


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
