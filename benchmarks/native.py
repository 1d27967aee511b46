"""The native load generator: built from the checkout when a benchmark first needs it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from benchmarks.registry import BenchmarkError
from benchmarks.report import Report

WORKSPACE = Path(__file__).resolve().parents[1] / "sfu" / "native"
BUILD_TIMEOUT_S = 900.0


def load_generator(report: Report) -> Path:
    """Return the path of `lectern-load`, built anew where its sources have changed; blocks for that long.

    It is no part of the package: it serves nobody but who measures, and needs the sources of the packet core.
    """
    binary = WORKSPACE / "target" / "release" / "lectern-load"
    if not (WORKSPACE / "load" / "Cargo.toml").is_file():
        raise BenchmarkError(
            "The load generator is built from Lectern's sources: run it in a checkout."
        )
    cargo = shutil.which("cargo") or shutil.which("cargo", path=str(Path.home() / ".cargo" / "bin"))
    if cargo is None:
        raise BenchmarkError(
            "The load generator needs a Rust toolchain, and there is no cargo here."
        )
    if not binary.exists():
        report.say("building the load generator (once, about a minute)")
    manifest = str(WORKSPACE / "Cargo.toml")
    command = [cargo, "build", "--release", "--locked", "--quiet", "--manifest-path", manifest]
    done = subprocess.run(
        [*command, "--package", "lectern-load"],
        capture_output=True,
        text=True,
        timeout=BUILD_TIMEOUT_S,
    )
    if done.returncode != 0:
        raise BenchmarkError(f"The load generator does not build:\n{done.stderr.strip()}")
    return binary
