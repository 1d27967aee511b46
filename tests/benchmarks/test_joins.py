"""`lectern bench join`, `density` and `soak` in small: real sessions, counted one by one."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

# The first run builds the load generator.
pytestmark = pytest.mark.timeout(600)


def bench(*options: str) -> tuple[int, dict[str, Any], str]:
    command = [sys.executable, "-m", "lectern", "bench", *options, "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.count("\n") == 1, done.stderr
    return done.returncode, json.loads(done.stdout), done.stderr


def test_joins_are_timed_step_by_step_and_all_of_the_bell_play() -> None:
    options = ["--seconds", "2", "--quiet", "1", "--clients", "1", "--bell", "25"]
    _, found, told = bench("join", *options)
    assert found["joins"] >= 100, told
    assert (found["joins_failed"], found["bell_joined"]) == (0, 25)
    # Every step comes after the one before it.
    for prefix in ("", "bell_"):
        steps = ("answer", "keys", "first_packet", "first_frame")
        times = [found[f"{prefix}{step}_ms_p50"] for step in steps]
        assert times == sorted(times) and times[0] > 0
        assert found[f"{prefix}channel_ms_p50"] > found[f"{prefix}keys_ms_p50"]
    assert found["bell_s"] * 1000 >= found["bell_first_frame_ms_p99"]
    # What was charged to joins is what the process used, and no more.
    assert 0 < found["cpu_ms_per_join"] * found["joins"] / 1000 <= found["node_cpu_share"] * 60
    assert found["joins_per_s"] == pytest.approx(1000 / found["cpu_ms_per_join"], rel=0.01)
    assert found["packets_lost"] == found["bell_packets_lost"] == 0


def test_memory_grows_with_viewers_and_two_tasks_serve_each() -> None:
    small = ["--viewers", "60", "--groups", "3", "--idle", "1", "--watch", "1", "--fps", "10"]
    _, found, told = bench("density", *small)
    groups = found["groups"]
    assert [group["viewers"] for group in groups] == [0, 20, 40, 60], told
    assert groups[3]["tasks"] - groups[1]["tasks"] == 2 * 40
    assert 20 < found["kib_per_viewer"] < 1000
    assert found["viewers_lost"] == 0
    assert 0 < found["idle_cpu_share"] < 1
    active = found["active_groups"]
    assert [group["viewers"] for group in active] == [0, 20, 40, 60]
    assert [group["viewers_with_media"] for group in active] == [0, 20, 40, 60]
    assert (found["viewers_with_media"], found["active_packets_lost"]) == (60, 0)
    assert 20 < found["kib_per_active_viewer"] < 1000
    # Media costs something, and was there while the memory was read.
    assert 0 < found["active_cpu_share"] < 1
    assert all(group["cpu_share"] > 0 for group in active[1:])


@pytest.mark.long
def test_a_short_soak_finds_no_session_left_and_too_short_a_one_has_no_slope() -> None:
    _, found, told = bench("soak", "--minutes", "1.6")
    for table, prefix, joins in (("readings", "", 500), ("web_readings", "web_", 200)):
        assert found[f"{prefix}joins"] > joins, told
        assert len(found[table]) >= 8
        assert abs(found[f"{prefix}descriptors_slope"]) < 1
        assert abs(found[f"{prefix}tasks_slope"]) < 1
    command = [sys.executable, "-m", "lectern", "bench", "soak", "--minutes", "0.5"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert "too few for a slope" in done.stderr
