"""Record the offers of the clients installed here into `offers/`; run by hand when they change.

`python -m tests.signaling.record_offers`; candidates get addresses of documentation.
"""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path
from typing import Any

import aioice.ice
from aiortc import RTCPeerConnection
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack
from playwright.async_api import BrowserType, async_playwright

OFFERS = Path(__file__).parent / "offers"

PUBLISHER = """
async () => {
  const pc = new RTCPeerConnection();
  const canvas = document.createElement("canvas");
  canvas.getContext("2d");
  const sound = new AudioContext();
  const screen = new MediaStream([
    canvas.captureStream(5).getVideoTracks()[0],
    sound.createMediaStreamDestination().stream.getAudioTracks()[0],
  ]);
  const mic = new MediaStream(sound.createMediaStreamDestination().stream.getAudioTracks());
  pc.addTransceiver(mic.getAudioTracks()[0], {direction: "sendonly", streams: [mic]});
  pc.addTransceiver(screen.getVideoTracks()[0], {direction: "sendonly", streams: [screen]});
  pc.addTransceiver(screen.getAudioTracks()[0], {direction: "sendonly", streams: [screen]});
  pc.createDataChannel("live");
  await pc.setLocalDescription();
  return pc.localDescription.sdp;
}
"""

SIMULCAST = """
async () => {
  const pc = new RTCPeerConnection();
  const canvas = document.createElement("canvas");
  canvas.getContext("2d");
  const screen = canvas.captureStream(5);
  pc.addTransceiver(screen.getVideoTracks()[0], {direction: "sendonly", streams: [screen],
    sendEncodings: [{rid: "l", scaleResolutionDownBy: 2}, {rid: "h"}]});
  await pc.setLocalDescription();
  return pc.localDescription.sdp;
}
"""

VIEWER = """
async () => {
  const pc = new RTCPeerConnection();
  pc.addTransceiver("video", {direction: "recvonly"});
  pc.addTransceiver("audio", {direction: "recvonly"});
  pc.addTransceiver("audio", {direction: "recvonly"});
  pc.createDataChannel("live");
  await pc.setLocalDescription();
  return pc.localDescription.sdp;
}
"""


def keep(name: str, sdp: str) -> None:
    sdp = re.sub(r"(a=candidate:\S+ \d+ \S+ \d+) \S+", r"\1 192.0.2.7", sdp)
    sdp = re.sub(r"IN IP4 (?!0\.0\.0\.0)\S+", "IN IP4 192.0.2.7", sdp)
    (OFFERS / f"{name}.sdp").write_bytes(sdp.encode())


async def record_browser(name: str, kind: BrowserType, **launch: Any) -> None:
    browser = await kind.launch(headless=True, **launch)
    try:
        if name == "firefox":  # this build knows no emulation of media features
            context = await browser.new_context(
                color_scheme="null", reduced_motion="null", forced_colors="null"
            )
        else:
            context = await browser.new_context()
        page = await context.new_page()
        for role, script in (
            ("publisher", PUBLISHER),
            ("viewer", VIEWER),
            ("simulcast", SIMULCAST),
        ):
            keep(f"{name}_{role}", await page.evaluate(script))
    finally:
        await browser.close()


async def record_aiortc() -> None:
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]
    publisher = RTCPeerConnection()
    publisher.addTransceiver(VideoStreamTrack(), direction="sendonly")
    publisher.addTransceiver(AudioStreamTrack(), direction="sendonly")
    publisher.createDataChannel("live")
    viewer = RTCPeerConnection()
    for kind in ("video", "audio"):
        viewer.addTransceiver(kind, direction="recvonly")
    viewer.createDataChannel("live")
    for role, pc in (("publisher", publisher), ("viewer", viewer)):
        await pc.setLocalDescription(await pc.createOffer())
        keep(f"aiortc_{role}", pc.localDescription.sdp)
        await pc.close()


async def main() -> None:
    await record_aiortc()
    async with async_playwright() as playwright:
        await record_browser(
            "chromium",
            playwright.chromium,
            executable_path="/usr/bin/chromium",
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--autoplay-policy=no-user-gesture-required",
            ],
        )
        await record_browser(
            "firefox",
            playwright.firefox,
            channel="moz-firefox",
            executable_path="/usr/bin/firefox-esr",
            env={**os.environ, "HOME": "/tmp"},
        )


if __name__ == "__main__":
    asyncio.run(main())
