"""A clap on the shared tab is heard and seen by a student at one instant."""

from __future__ import annotations

import statistics
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.browser import signals
from tests.browser.browsers import chromium_context
from tests.browser.journeys import (
    expect_watching,
    share,
    start_class,
    student_opens,
    teacher_creates_class,
    turn_mic_on,
)
from tests.browser.shares import Shared
from tests.lectern.running import Up

pytestmark = [pytest.mark.browser("chromium"), pytest.mark.long]

APART_MS_MAX = 80
CLAPS = 6
# A browser moves sound by 80 ms a second at the most, and is followed each 2 s.
SETTLED_MS = 16_000

# White pictures by the time they are shown at, tones by the sample they begin with.
LISTEN = """
() => {
  const video = document.querySelector("video");
  const stream = document.querySelector("audio[data-slot=screen_audio]").srcObject;
  const seen = { flashes: [], beeps: [] };
  globalThis.seen = seen;
  const canvas = new OffscreenCanvas(4, 4);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  let white = true;
  const look = (now, { expectedDisplayTime }) => {
    context.drawImage(video, 0, 0, 4, 4);
    const was = white;
    white = context.getImageData(2, 2, 1, 1).data[1] > 128;
    if (white && !was) seen.flashes.push(expectedDisplayTime);
    video.requestVideoFrameCallback(look);
  };
  video.requestVideoFrameCallback(look);
  const audio = new AudioContext({ sampleRate: 48000 });
  const analyser = new AnalyserNode(audio, { fftSize: 4096 });
  new MediaStreamAudioSourceNode(audio, { mediaStream: stream }).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  let quietUntil = 0;
  setInterval(() => {
    analyser.getFloatTimeDomainData(samples);
    const now = performance.now();
    const first = samples.findIndex((sample) => Math.abs(sample) > 0.05);
    if (first === -1) return;
    // Sound from the first sample on is one that began before.
    if (first > 480 && now > quietUntil) {
      seen.beeps.push(now - ((samples.length - first) / audio.sampleRate) * 1000);
    }
    quietUntil = now + 300;
  }, 20);
  return audio.resume();
}
"""


def apart_ms(page: Page, claps: int, timeout_s: float = 30.0) -> list[float]:
    """Return of each clap how much later its picture came than its sound."""
    page.evaluate(LISTEN)
    seen: dict[str, Any] = {}
    for _ in range(int(timeout_s * 10)):
        seen = page.evaluate("seen")
        if min(len(seen["flashes"]), len(seen["beeps"])) > claps:
            break
        page.wait_for_timeout(100)
    apart = [
        min((flash - beep for flash in seen["flashes"]), key=abs) for beep in seen["beeps"][1:-1]
    ]
    assert len(apart) >= claps - 1, seen
    return apart


# How long voice and screen sound have waited here since the last call, in ms.
WAITED = """async () => {
  const report = await connections.at(-1).getStats(), before = globalThis.waited ?? {};
  const mean = {};
  globalThis.waited = {};
  for (const e of report.values()) {
    if (e.type !== "inbound-rtp" || e.kind !== "audio") continue;
    const now = (globalThis.waited[e.mid] = [e.jitterBufferDelay, e.jitterBufferEmittedCount]);
    const [delay, count] = before[e.mid] ?? [0, 0];
    mean[e.mid] = (1000 * (now[0] - delay)) / (now[1] - count);
  }
  return [mean["1"], mean["2"]];
}"""
# As if pictures came late by so much.
LATE = """ms => {
  const video = connections.at(-1).getReceivers().find(({ track }) => track.kind === "video");
  video.jitterBufferTarget = ms;
}"""


def test_the_voice_waits_for_a_late_picture_and_comes_back(
    shared: Shared, student_browser: Browser
) -> None:
    shared.teacher.page.context.grant_permissions(["microphone"])
    turn_mic_on(shared.teacher.page)
    student = student_opens(chromium_context(student_browser), shared.link)
    expect_watching(student.page)
    signals.wait_for_motion(student.page)
    waited = []
    for late_ms in (0, 500, 0):
        student.page.evaluate(LATE, late_ms)
        student.page.wait_for_timeout(SETTLED_MS)
        student.page.evaluate(WAITED)
        student.page.wait_for_timeout(2000)
        waited.append([round(ms) for ms in student.page.evaluate(WAITED)])
    print(f"voice and screen sound have waited, ms: {waited}")
    assert all(abs(voice - screen) <= APART_MS_MAX for voice, screen in waited), waited
    # Both have moved, and back.
    assert waited[1][0] > waited[0][0] + 200 and waited[2][0] < waited[1][0] - 200, waited


def test_a_clap_is_seen_and_heard_at_once(
    server: Up, teacher_browser: Browser, student_browser: Browser, source_url: str
) -> None:
    teaching = chromium_context(teacher_browser)
    teacher, link = teacher_creates_class(teaching, server.url.replace("127.0.0.1", "localhost"))
    clapper = teaching.new_page()
    clapper.goto(f"{source_url}/clap.html")
    clapper.mouse.click(10, 10)
    clapper.wait_for_function("claps > 1")
    teacher.page.bring_to_front()
    start_class(teacher.page)
    share(teacher.page)
    student = student_opens(chromium_context(student_browser), link)
    expect_watching(student.page)
    # Lip sync moves by at most 80 ms a second towards its goal.
    student.page.wait_for_timeout(4000)
    apart = apart_ms(student.page, CLAPS)
    print(f"picture after sound, ms: {[round(ms) for ms in apart]}")
    assert abs(statistics.median(apart)) <= APART_MS_MAX
