"""`make` names what it cannot set up in one sentence with the command that installs it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ORDINARY = ("sh", "sed", "sort", "head", "cut", "uname", "dirname", "printf", "id", "env")


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A PATH with all that building takes; tests remove or replace a part."""
    found = tmp_path / "bin"
    found.mkdir()
    for name in ORDINARY:
        program = shutil.which(name)
        if program is not None:
            (found / name).symlink_to(program)
    _script(found / "python3", f'exec "{sys.executable}" "$@"')
    _script(found / "cc", "exit 0")
    _script(found / "cargo", "echo cargo 9.9.9")
    _script(found / "redis-server", "exit 0")
    return found


def _script(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    path.write_text(f"#!{shutil.which('sh')}\n{text}\n")
    path.chmod(0o755)


def _run(tools: Path, script: str = ".ci/build-tools", **extra: str) -> tuple[int, str]:
    done = subprocess.run(
        [str(ROOT / script)],
        env={"PATH": str(tools), "HOME": str(tools.parent), **extra},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stderr


def test_nothing_is_said_when_nothing_is_missing(tools: Path) -> None:
    assert _run(tools) == (0, "")


@pytest.mark.parametrize(
    ("name", "replacement", "sentence"),
    [
        ("cc", None, "apt install build-essential"),
        ("cargo", None, "No Rust toolchain was found"),
        ("cargo", "echo cargo 1.63.0", "newer is needed, and"),
        ("python3", None, "Python 3.11 or newer is needed"),
        ("python3", 'case "$2" in *ensurepip*) exit 1;; esac', "apt install python3-venv"),
    ],
)
def test_what_is_missing_is_one_sentence(
    tools: Path, name: str, replacement: str | None, sentence: str
) -> None:
    if replacement is None:
        (tools / name).unlink()
    else:
        _script(tools / name, replacement)
    code, said = _run(tools)
    assert code == 1
    assert sentence in said
    assert len(said.splitlines()) == 1, said


def test_a_person_is_told_the_command_for_the_tests_tools(tools: Path) -> None:
    _script(tools / "id", "echo 1000")
    code, said = _run(tools, ".ci/test-tools")
    assert code == 0
    assert "sudo apt-get install -y --no-install-recommends chromium" in said
    code, said = _run(tools, ".ci/test-tools", CI="true")
    assert code == 1
