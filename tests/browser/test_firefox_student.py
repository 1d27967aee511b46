"""Firefox watches a class; and is told what to do where it cannot."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Playwright, expect, sync_playwright

from tests.browser import signals
from tests.browser.browsers import (
    MIC_HERTZ,
    SCREEN_HERTZ,
    chromium_context,
    firefox_context,
    launch_firefox,
    launch_students,
    launch_teacher,
    open_source,
)
from tests.browser.conftest import serve_source
from tests.browser.journeys import (
    expect_watching,
    share,
    start_class,
    student_opens,
    teacher_creates_class,
    turn_mic_on,
)
from tests.browser.namespaces import Cable
from tests.lectern.running import Up

pytestmark = [
    pytest.mark.browser("chromium", "firefox-esr", "pulseaudio"),
    pytest.mark.timeout(180),
]

SOUND_START_S_MAX = 10.0


@pytest.fixture(scope="module")
def sound() -> Iterator[str]:
    """The address of a sound server with one card that plays into nothing."""
    home = Path(tempfile.mkdtemp(prefix="lectern-sound-", dir="/tmp"))
    socket = home / "native"
    process = subprocess.Popen(
        [
            *("pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no"),
            "--load=module-null-sink sink_name=nowhere",
            f"--load=module-native-protocol-unix auth-anonymous=1 socket={socket}",
        ],
        env={"HOME": str(home), "XDG_RUNTIME_DIR": str(home), "PATH": "/usr/bin:/bin"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + SOUND_START_S_MAX
        while not socket.exists():
            assert process.poll() is None and time.monotonic() < deadline, "no sound server"
            time.sleep(0.05)
        yield f"unix:{socket}"
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(home, ignore_errors=True)


def _environment(sound: str, home: Path) -> dict[str, str | float | bool]:
    return {"HOME": str(home), "PULSE_SERVER": sound, "PATH": "/usr/bin:/bin"}


@pytest.mark.long
@pytest.mark.netns
def test_firefox_sees_and_hears_the_class(sound: str, mic_file: Path, tmp_path: Path) -> None:
    # Firefox takes no loopback candidate, so the server has a network's address here.
    cable = Cable()
    home = Path(tempfile.mkdtemp(prefix="lectern-pages-", dir="/tmp"))
    try:
        with cable.near.inside():
            up = Up(home / "data", "--host", Cable.NEAR).start()
            try:
                with sync_playwright() as playwright, serve_source() as source_url:
                    _watch_with_firefox(
                        playwright,
                        url=f"http://{Cable.NEAR}:{up.port}",
                        source_url=source_url,
                        mic_file=mic_file,
                        environment=_environment(sound, tmp_path),
                    )
            finally:
                up.stop()
    finally:
        cable.close()
        shutil.rmtree(home, ignore_errors=True)


def _watch_with_firefox(
    playwright: Playwright,
    *,
    url: str,
    source_url: str,
    mic_file: Path,
    environment: dict[str, str | float | bool],
) -> None:
    trusted = f"--unsafely-treat-insecure-origin-as-secure={url}"
    chromium = launch_teacher(playwright, mic_file, trusted)
    teaching = chromium_context(chromium, permissions=["microphone"])
    teacher, link = teacher_creates_class(teaching, url)
    open_source(teaching, source_url)
    teacher.page.bring_to_front()
    start_class(teacher.page)

    firefox = launch_firefox(playwright, environment)
    student = student_opens(firefox_context(firefox), link)
    expect_watching(student.page)
    turn_mic_on(teacher.page)
    signals.wait_for_tone(student.page, "audio[data-slot=mic]", MIC_HERTZ)
    share(teacher.page)
    signals.wait_for_motion(student.page)
    signals.wait_for_tone(student.page, "audio[data-slot=screen_audio]", SCREEN_HERTZ)
    signals.wait_for_tone(student.page, "audio[data-slot=mic]", MIC_HERTZ)
    # A still class is no dead path: nothing new flows, and the session stays.
    teacher.page.get_by_role("button", name="Stop sharing").click()
    teacher.page.get_by_role("button", name="Turn mic off").click()
    student.page.wait_for_timeout(10_000)
    assert student.connections() == ["connected"]
    assert len(student.offers) == 1
    firefox.close()
    chromium.close()


@pytest.mark.long
def test_firefox_on_the_servers_own_machine_is_told_what_to_do(
    server: Up, playwright: Playwright, sound: str, tmp_path: Path
) -> None:
    url = server.url.replace("127.0.0.1", "localhost")
    chromium = launch_students(playwright)
    teacher, link = teacher_creates_class(chromium_context(chromium), url)
    start_class(teacher.page)
    firefox = launch_firefox(playwright, _environment(sound, tmp_path))
    student = student_opens(firefox_context(firefox), link)
    told = student.page.get_by_text("Open the link in Chromium or Chrome")
    expect(told).to_be_visible(timeout=20_000)
    expect(told).to_contain_text("--host")
    firefox.close()
    chromium.close()
