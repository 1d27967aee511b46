"""A backup that was made while everything ran becomes the same school on another machine."""

from __future__ import annotations

import asyncio
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.lectern.running import Up, run_lectern
from tests.lectern.watching import student

pytestmark = pytest.mark.timeout(180)

TEACHER = {
    "email": "ada@lectern.example",
    "name": "Ada",
    "password": "a rather long password",
    "role": "teacher",
}


@pytest.fixture
def home() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="lectern-backup-", dir="/tmp"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.mark.long
async def test_a_backup_is_restored_on_another_machine(home: Path) -> None:
    file = home / "school.backup"
    first = Up(home / "first")
    try:
        await asyncio.to_thread(first.start)
        async with student(first.url) as http:
            await _post(http, f"{first.url}/api/accounts", TEACHER)
            made = await _post(http, f"{first.url}/api/classes", {"title": "Maths", "capacity": 5})
            await _post(http, f"{first.url}/api/classes/{made['id']}/start", None)
        done = await asyncio.to_thread(run_lectern, "backup", str(file), "--data", str(first.data))
        assert done.returncode == 0, done.stderr
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        again = await asyncio.to_thread(run_lectern, "backup", str(file), "--data", str(first.data))
        assert again.returncode == 2 and "overwrites nothing" in again.stderr
        full = await asyncio.to_thread(run_lectern, "restore", str(file), "--data", str(first.data))
        assert full.returncode == 2 and "already runs" in full.stderr
    finally:
        first.stop()
    full = await asyncio.to_thread(run_lectern, "restore", str(file), "--data", str(first.data))
    assert full.returncode == 2 and "not empty" in full.stderr
    second = Up(home / "second")
    second.data.mkdir()
    done = await asyncio.to_thread(run_lectern, "restore", str(file), "--data", str(second.data))
    assert done.returncode == 0, done.stderr
    try:
        await asyncio.to_thread(second.start)
        async with student(second.url) as http:
            await _post(http, f"{second.url}/api/session", TEACHER, "email", "password")
            async with http.get(f"{second.url}/api/classes") as response:
                (kept,) = (await response.json())["items"]
            assert (kept["title"], kept["state"]) == ("Maths", "live")
            await _post(http, f"{second.url}/api/classes/{kept['id']}/end", None)
    finally:
        second.stop()


async def _post(
    http: aiohttp.ClientSession,
    url: str,
    body: dict[str, object] | dict[str, str] | None,
    *only: str,
) -> dict[str, object]:
    sent = {k: v for k, v in body.items() if not only or k in only} if body else None
    async with http.post(url, json=sent) as response:
        assert response.status in (200, 201), await response.text()
        told: dict[str, object] = await response.json()
        return told


@pytest.mark.long
def test_a_backup_of_an_unused_directory_is_restored(home: Path) -> None:
    file, data = home / "empty.backup", ("--data", str(home / "first"))
    assert run_lectern("migrate", *data).returncode == 0
    assert run_lectern("backup", str(file), *data).returncode == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    done = run_lectern("restore", str(file), *data)
    assert done.returncode == 2 and "not empty" in done.stderr
    done = run_lectern("restore", str(file), "--data", str(home / "second"))
    assert done.returncode == 0, done.stderr


def test_what_is_no_backup_is_refused_and_nothing_is_left(home: Path) -> None:
    nonsense = home / "nonsense"
    nonsense.write_text("no backup")
    done = run_lectern("restore", str(nonsense), "--data", str(home / "data"))
    assert done.returncode == 2 and "pg_restore failed" in done.stderr
    assert run_lectern("restore", str(home / "none"), "--data", str(home / "data")).returncode == 2
    done = run_lectern(
        "backup",
        str(home / "b"),
        extra={"LECTERN_DATABASE_URL": "postgresql://u:hidden-password@127.0.0.1:9/d"},
    )
    assert done.returncode == 2 and "hidden-password" not in done.stdout + done.stderr
    assert not list(home.glob("b*"))
