"""The repository keeps its own rules: types, style, and who may import whom."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent

CHECKS = {
    "types": [sys.executable, "-m", "mypy"],
    "style": [str(BIN / "ruff"), "check", "."],
    "format": [str(BIN / "ruff"), "format", "--check", "."],
    "arrows": [str(BIN / "lint-imports")],
}


@pytest.mark.timeout(300)  # mypy's first run reads every dependency
@pytest.mark.parametrize("check", CHECKS)
def test_the_sources_pass(check: str) -> None:
    done = subprocess.run(CHECKS[check], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
