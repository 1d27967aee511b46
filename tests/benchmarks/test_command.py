"""What every benchmark gets from the command: one line of JSON, a report, a clean end on Ctrl-C."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest

from benchmarks import command, registry
from benchmarks.registry import Benchmark, BenchmarkError
from benchmarks.report import Curve, Report


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--does", choices=["well", "badly", "nothing", "wait"], default="well")


def run(options: argparse.Namespace, report: Report) -> None:
    if options.does == "nothing":
        raise BenchmarkError("It needs what is not here.")
    report.figures["speed_us"] = 1.23456
    report.add_row("by_size", {"size": 1, "speed_us": 1.5})
    report.add_row("by_size", {"size": 1000, "speed_us": 2.5})
    report.curves.append(Curve("by_size", "size", ["speed_us"], x_is_logarithmic=True))
    report.expect("speed_us <= 2", options.does == "well")
    if options.does == "wait":
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("benchmarks.fake")
    module.BENCHMARK = Benchmark("It measures nothing.", add_options, run)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "benchmarks.fake", module)
    monkeypatch.setitem(registry.SUMMARIES, "fake", "measure nothing")


def test_the_last_line_on_standard_output_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["fake", "--json"]) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    found = json.loads(out)
    assert (found["benchmark"], found["partial"], found["not_held"]) == ("fake", False, [])
    assert found["speed_us"] == 1.235
    assert [row["size"] for row in found["by_size"]] == [1, 1000]
    assert found["machine"]["cores"] >= 1


def test_a_person_gets_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["fake"]) == 0
    out = capsys.readouterr().out
    assert "speed_us  1.235" in out
    assert "holds: speed_us <= 2" in out


def test_a_bound_that_does_not_hold_fails_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["fake", "--json", "--does", "badly"]) == command.EXIT_NOT_HELD
    caught = capsys.readouterr()
    assert json.loads(caught.out)["not_held"] == ["speed_us <= 2"]
    assert "does not hold: speed_us <= 2" in caught.err


def test_what_cannot_be_run_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["fake", "--does", "nothing"]) == command.EXIT_UNUSABLE
    caught = capsys.readouterr()
    assert (caught.out, caught.err) == ("", "lectern bench: It needs what is not here.\n")


def test_an_interrupted_run_says_what_it_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["fake", "--json", "--does", "wait"]) == command.EXIT_INTERRUPTED
    found = json.loads(capsys.readouterr().out)
    assert found["partial"] is True
    assert found["speed_us"] == 1.235


def test_a_report_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["fake", "--report", str(tmp_path / "new")]) == 0
    page = (tmp_path / "new" / "fake.md").read_text()
    assert "| `speed_us` | 1.235 |" in page
    assert "| 1,000 | 2.5 |" in page
    assert json.loads((tmp_path / "new" / "fake.json").read_text())["speed_us"] == 1.235
    assert str(tmp_path / "new" / "fake.md") in capsys.readouterr().err


def test_the_command_line_knows_it_and_its_benchmarks() -> None:
    lectern = [sys.executable, "-m", "lectern"]
    told = subprocess.run([*lectern, "--help"], capture_output=True, text=True, check=True)
    assert "bench" in told.stdout
    told = subprocess.run([*lectern, "bench", "--help"], capture_output=True, text=True, check=True)
    for name in registry.SUMMARIES.keys() - {"fake"}:
        assert name in told.stdout
        asked = [*lectern, "bench", name, "--help"]
        told_more = subprocess.run(asked, capture_output=True, text=True, check=True)
        assert "--json" in told_more.stdout
