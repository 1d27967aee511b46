"""Chromium and Firefox themselves make offers here and accept what they are answered."""

from __future__ import annotations

import os
from typing import Any

import pytest
from playwright.async_api import Browser, Playwright, async_playwright

from signaling.answer import write_answer
from signaling.offer import Role, read_offer
from tests.browser.browsers import CHROMIUM, CHROMIUM_ARGS, FIREFOX
from tests.signaling.record_offers import PUBLISHER, SIMULCAST, VIEWER
from tests.signaling.test_real_offers_are_answered import answer_of

KEEPING = """
() => {
  const Connection = globalThis.RTCPeerConnection;
  globalThis.RTCPeerConnection = class extends Connection {
    constructor(...options) { super(...options); globalThis.pc = this; }
  };
}
"""
TAKE = """
async (sdp) => {
  await pc.setRemoteDescription({type: "answer", sdp});
  return {
    directions: pc.getTransceivers().map((t) => t.currentDirection),
    streams: pc.getReceivers().map((r) => r.track.kind + (r.track.muted ? " muted" : "")),
    encodings: pc.getSenders().map((s) => s.getParameters().encodings?.length ?? 0),
    role: pc.sctp?.transport.iceTransport?.role ?? null,
    sctp: pc.sctp?.maxMessageSize ?? null,
  };
}
"""


async def browser_of(playwright: Playwright, name: str) -> Browser:
    if name == "chromium":
        args = [*CHROMIUM_ARGS, "--autoplay-policy=no-user-gesture-required"]
        return await playwright.chromium.launch(executable_path=CHROMIUM, args=args)
    return await playwright.firefox.launch(
        channel="moz-firefox", executable_path=FIREFOX, env={**os.environ, "HOME": "/tmp"}
    )


async def exchange(browser: Browser, script: str, role: Role, **changes: object) -> Any:
    """Let a page offer, and take what we answer; return what it made of it."""
    options: dict[str, Any] = {}
    if browser.browser_type.name == "firefox":
        options = dict.fromkeys(("color_scheme", "reduced_motion", "forced_colors"), "null")
    page = await (await browser.new_context(**options)).new_page()
    await page.evaluate(KEEPING)
    offer = read_offer((await page.evaluate(script)).encode(), role)
    if "rids" in changes:
        changes["rids"] = {offer.offer.sections[0].mid: offer.offer.sections[0].rids}
    return await page.evaluate(TAKE, write_answer(offer, answer_of(offer, **changes)))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("chromium", marks=pytest.mark.browser("chromium")),
        pytest.param("firefox", marks=pytest.mark.browser("firefox-esr")),
    ],
)
async def test_every_kind_of_answer_is_accepted(name: str) -> None:
    async with async_playwright() as playwright:
        browser = await browser_of(playwright, name)
        taken = await exchange(browser, PUBLISHER, "publisher")
        assert taken["directions"] == ["sendonly"] * 3
        assert taken["sctp"] == 16384
        taken = await exchange(browser, VIEWER, "viewer")
        assert taken["directions"] == ["recvonly"] * 3
        one = await exchange(browser, SIMULCAST, "publisher")
        two = await exchange(browser, SIMULCAST, "publisher", rids=True)
        assert (one["directions"], two["directions"]) == (["sendonly"], ["sendonly"])
        assert two["encodings"] == [2]
        if name == "chromium":
            assert one["encodings"] == [1]
        await browser.close()
