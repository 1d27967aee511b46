"""`lectern bench compare`: Janus and we get the same packets; without Janus it says how to get it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

# The first run builds the load generator.
pytestmark = pytest.mark.timeout(600)

COMPARE = [sys.executable, "-m", "lectern", "bench", "compare", "--json"]
SMALL = ["--viewers", "30", "--rounds", "1", "--warm-up", "1", "--window", "5", "--fps", "30"]


def test_without_janus_one_sentence_says_how_to_get_it(tmp_path: Path) -> None:
    here = {"PATH": f"{tmp_path}:{Path.home() / '.cargo/bin'}", "HOME": os.environ.get("HOME", "/")}
    for tool in ("cc", "gcc", "ld", "cargo", "rustc", "env", "sh"):
        found = next(
            (p for d in os.environ["PATH"].split(":") if (p := Path(d) / tool).exists()), None
        )
        if found is not None:
            (tmp_path / tool).symlink_to(found)
    done = subprocess.run([*COMPARE, *SMALL], capture_output=True, text=True, env=here)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(
        "lectern bench: Janus is not installed: apt-get install janus, and run this again.\n"
    )


@pytest.mark.long
def test_every_server_forwards_every_packet_and_is_charged_for_it() -> None:
    done = subprocess.run([*COMPARE, *SMALL], capture_output=True, text=True)
    assert done.stdout.count("\n") == 1, done.stderr
    found = json.loads(done.stdout)
    peers = {row["peer"]: row for row in found["peers"]}
    assert set(peers) == {"lectern", "janus-streaming", "janus-videoroom"}
    for row in peers.values():
        assert row["packets"] + row["packets_lost"] == 30 * 5 * 30 * 12
        assert row["packets_failed"] == 0 and row["packets_opened"] > 0
        assert row["us_per_packet"] > 0.5 and row["version"]
    assert found["packets_lost"] == 0
    cheapest = min(row["us_per_packet"] for name, row in peers.items() if name != "lectern")
    assert found["ratio"] == pytest.approx(cheapest / found["us_per_packet"], rel=0.01)
    assert found["ratio"] > 2


def test_a_peer_that_is_not_known_is_named() -> None:
    command = [*COMPARE, *SMALL, "--peers", "nobody"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "There is no peer 'nobody'" in done.stderr
