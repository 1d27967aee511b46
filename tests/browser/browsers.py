"""Real browsers, started the way that gives them a tab to share, a microphone and a sound card."""

from __future__ import annotations

import math
import struct
import wave
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser, BrowserContext, Page, Playwright

CHROMIUM: Final = "/usr/bin/chromium"
FIREFOX: Final = "/usr/bin/firefox-esr"

SOURCE_TITLE: Final = "Lectern test source"
SCREEN_HERTZ: Final = 880
MIC_HERTZ: Final = 440

CHROMIUM_ARGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

PAGES: Final = Path(__file__).parent / "pages"
READER: Final = (PAGES / "reader.js").read_text()
# Counts connections without touching them: the pages promise to keep theirs.
CONNECTIONS: Final = """
globalThis.connections = [];
globalThis.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(...options) { super(...options); globalThis.connections.push(this); }
};
"""


def launch_teacher(
    playwright: Playwright, mic: Path, *args: str, program: str = CHROMIUM
) -> Browser:
    """Start Chromium so that sharing picks the tab with SOURCE_TITLE, and the mic is a file."""
    return playwright.chromium.launch(
        executable_path=program,
        headless=True,
        # With it the shared tab's sound is silence.
        ignore_default_args=["--mute-audio"],
        args=[
            *CHROMIUM_ARGS,
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-audio-capture={mic}",
            f"--auto-select-tab-capture-source-by-title={SOURCE_TITLE}",
            *args,
        ],
    )


def launch_students(playwright: Playwright, *args: str, program: str = CHROMIUM) -> Browser:
    """Start Chromium as students have it: no flag about autoplay or media."""
    return playwright.chromium.launch(
        executable_path=program,
        headless=True,
        ignore_default_args=["--mute-audio"],
        args=[*CHROMIUM_ARGS, *args],
    )


def launch_firefox(playwright: Playwright, env: dict[str, str | float | bool]) -> Browser:
    """Start Firefox-ESR; `env` names its sound server, without which it plays no sound."""
    return playwright.firefox.launch(
        channel="moz-firefox",
        executable_path=FIREFOX,
        headless=True,
        env=env,
        firefox_user_prefs={
            "media.navigator.streams.fake": True,
            "media.navigator.permission.disabled": True,
        },
    )


def firefox_context(browser: Browser, **options: Any) -> BrowserContext:
    """Open a context with what this Firefox has no protocol for left alone."""
    context = browser.new_context(
        color_scheme="null", reduced_motion="null", forced_colors="null", **options
    )
    context.add_init_script(CONNECTIONS)
    return context


def chromium_context(browser: Browser, **options: Any) -> BrowserContext:
    """Open a context that keeps count of the pages' connections."""
    context = browser.new_context(viewport={"width": 1280, "height": 720}, **options)
    context.add_init_script(CONNECTIONS)
    return context


def open_source(
    context: BrowserContext,
    url: str,
    *,
    colour: str = "red",
    hertz: int = SCREEN_HERTZ,
    options: str = "",
) -> Page:
    """Open the tab that will be shared and start its tone with a click; `options`: "&fps=15&text", say."""
    page = context.new_page()
    page.goto(f"{url}/source.html?colour={colour}&hertz={hertz}{options}")
    page.mouse.click(10, 10)
    page.wait_for_function("source.tone !== null && source.counter > 0")
    return page


def write_mic(path: Path, hertz: int = MIC_HERTZ, seconds: int = 4) -> Path:
    """Write a tone that swells twice a second, as a microphone's file.

    A steady tone is noise to a browser's noise suppression, and is removed; syllables are not.
    """
    rate = 48000
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        samples = (
            math.sin(2 * math.pi * hertz * n / rate)
            * 12000
            * (0.5 - 0.5 * math.cos(2 * math.pi * 2 * n / rate)) ** 2
            for n in range(rate * seconds)
        )
        file.writeframes(b"".join(struct.pack("<h", int(sample)) for sample in samples))
    return path
