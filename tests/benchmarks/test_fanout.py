"""`lectern bench fanout` in small: it runs, it counts, and its checks can fail."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

# The first run builds the load generator.
pytestmark = pytest.mark.timeout(600)

FANOUT = [sys.executable, "-m", "lectern", "bench", "fanout", "--json"]
SMALL = ["--viewers", "4", "--rounds", "1", "--warm-up", "0", "--window", "0.5", "--rest", "0"]


def run(*options: str) -> tuple[int, dict[str, Any], str]:
    done = subprocess.run([*FANOUT, *SMALL, *options], capture_output=True, text=True)
    assert done.stdout.count("\n") == 1, done.stderr
    return done.returncode, json.loads(done.stdout), done.stderr


def test_nothing_is_lost_and_the_line_has_its_keys() -> None:
    code, found, told = run("--open-every", "1")
    assert code == 0, told
    assert found["packets_expected"] >= 4 * 12 * 15
    assert (found["packets_lost"], found["packets_late"], found["packets_strange"]) == (0, 0, 0)
    assert found["packets_failed"] == 0
    # Every packet of the node and of the plain sender was opened and compared.
    assert found["packets_opened"] >= found["packets_expected"]
    assert 0 < found["floor_us"] < found["us_per_packet"]
    assert found["ratio_to_floor"] == pytest.approx(
        found["us_per_packet"] / found["floor_us"], rel=0.01
    )
    assert found["kpps_per_core"] == pytest.approx(1000 / found["us_per_packet"], rel=0.01)
    assert found["viewers"] == 4
    assert found["gso"] is True
    assert found["packets_per_send"] > 2
    # Each viewer tells ten times a second what came, and the teacher's packets are among them too.
    assert found["node_datagrams_in_per_s"] > 4 * 5 + 12 * 15 * 0.8


def test_one_wrong_key_among_the_viewers_is_noticed() -> None:
    code, found, told = run("--wrong-keys", "1", "--no-floor", "--open-every", "1")
    assert code == 1
    assert found["not_held"] == ["packets_failed == 0 of 4 viewers"]
    assert "does not hold: packets_failed == 0 of 4 viewers" in told
    # All packets of that viewer, and none of the others; its reports from the node fail as well.
    each = found["packets_expected"] // 4
    assert each <= found["packets_failed"] < 1.2 * each
    assert found["packets_lost"] == 0


@pytest.mark.long
def test_an_interrupted_run_ends_its_processes_and_says_what_it_knows() -> None:
    command = [*FANOUT, *SMALL, "--rounds", "50", "--no-floor"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell lets what runs in its background ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as bench:
        assert bench.stderr is not None
        while "round 1" not in bench.stderr.readline():
            assert bench.poll() is None, bench.stderr.read()
        children = Path(f"/proc/{bench.pid}/task/{bench.pid}/children").read_text().split()
        assert len(children) == 2
        bench.send_signal(signal.SIGINT)
        out, _ = bench.communicate(timeout=60)
        assert bench.returncode == 130
    found = json.loads(out)
    assert found["partial"] is True
    assert found["us_per_packet"] > 0
    assert not [child for child in children if os.path.exists(f"/proc/{child}")]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--viewers", "0"], "--viewers is out of bounds."),
        (["--fps", "1000"], "--fps is out of bounds."),
        (["--spread-ms", "70"], "--spread-ms is out of bounds."),
        (["--wrong-keys", "9"], "--wrong-keys is out of bounds."),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(options: list[str], sentence: str) -> None:
    done = subprocess.run([*FANOUT, *SMALL, *options], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"lectern bench: {sentence}\n"


def test_many_classes_keep_apart_and_lose_nothing() -> None:
    code, found, told = run("--viewers", "8", "--classes", "4", "--no-floor", "--open-every", "1")
    assert code == 0, told
    assert (found["packets_lost"], found["packets_strange"], found["packets_failed"]) == (0, 0, 0)
    assert found["classes"] == 4
    # Each of four teachers sends as much as one alone does, to two viewers.
    assert found["packets_expected"] >= 8 * 12 * 15


def test_sound_alone_comes_packet_by_packet() -> None:
    code, found, told = run("--audio", "--no-floor", "--open-every", "1")
    assert code == 0, told
    assert (found["fps"], found["packets_per_frame"], found["packet_bytes"]) == (50, 1, 120)
    assert (found["packets_lost"], found["packets_strange"], found["packets_failed"]) == (0, 0, 0)
