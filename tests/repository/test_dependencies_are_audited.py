"""Dependencies are held against the advisories' databases, and a database that is away is said."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CLEAN = {
    "python": {"dependencies": [{"name": "a", "version": "1", "vulns": []}]},
    "cargo": {"vulnerabilities": {"list": []}},
    "npm": {"vulnerabilities": {}},
}
BAD = {
    "python": {"dependencies": [{"name": "a", "version": "1", "vulns": [{"id": "PYSEC-1"}]}]},
    "cargo": {
        "vulnerabilities": {
            "list": [{"package": {"name": "b", "version": "2"}, "advisory": {"id": "RUSTSEC-1"}}]
        }
    },
    "npm": {"vulnerabilities": {"c": {"severity": "high"}}},
}
AWAY = {
    "python": {"dependencies": [{"name": "a", "version": "1", "skip_reason": "not found"}]},
    "cargo": None,
    "npm": {"message": "405 Method Not Allowed"},
}


def audit(tmp_path: Path, answers: dict[str, object]) -> tuple[int, str]:
    """Run the audit with tools that answer so; None: a tool that only complains."""
    for name in ("python", "cargo", "npm"):
        program = tmp_path / name
        said = (
            "echo no route >&2"
            if answers[name] is None
            else f"cat <<'E'\n{json.dumps(answers[name])}\nE"
        )
        program.write_text(f"#!/bin/sh\n{said}\n")
        program.chmod(0o755)
    # The Python that runs the script is not the one whose packages it asks about.
    text = (ROOT / ".ci" / "audit").read_text()
    script = tmp_path / "ci" / "audit"
    script.parent.mkdir()
    script.write_text(text.replace("sys.executable", repr(str(tmp_path / "python"))))
    for name in ("package.json", ".npmrc"):
        shutil.copy(ROOT / name, tmp_path)
    done = subprocess.run(
        [sys.executable, str(script)],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


def test_clean_answers_pass(tmp_path: Path) -> None:
    code, said = audit(tmp_path, dict(CLEAN))
    assert code == 0 and said.count("0 known vulnerabilities") == 3, said


@pytest.mark.parametrize("name", BAD)
def test_one_vulnerable_dependency_fails(tmp_path: Path, name: str) -> None:
    code, said = audit(tmp_path, CLEAN | {name: BAD[name]})
    assert code == 1 and "1 known vulnerabilities" in said, said


def test_a_database_that_is_away_is_said_and_no_failure(tmp_path: Path) -> None:
    code, said = audit(tmp_path, dict(AWAY))
    assert code == 0 and said.count("not audited") == 3, said


@pytest.mark.long
@pytest.mark.timeout(900)
def test_no_dependency_is_known_to_be_vulnerable() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / ".ci" / "audit")], capture_output=True, text=True, timeout=900
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("audit: ") >= 3
