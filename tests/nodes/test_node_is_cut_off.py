"""A node whose packets are dropped while its internal HTTP answers, in a network namespace of its own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.lectern.running import ROOT, environment

COMMAND = ["bench", "failover", "--json", "--rounds", "1", "--faults", "cut"]


@pytest.mark.long
@pytest.mark.netns
@pytest.mark.timeout(300)
def test_students_go_on_and_the_node_gets_no_classes() -> None:
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "lectern",
            *["bench", "failover", "--json", "--rounds", "1", "--faults", "cut"],
        ],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    found = json.loads(ran.stdout.splitlines()[-1])
    print(found)
    assert found["not_held"] == []
    assert found["cut_gaps"] >= 4 and found["cut_gap_longest_s"] > 0.5, "nobody was cut off"
