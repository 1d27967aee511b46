"""Choosing the codec of a class, and asking browsers which one they really use."""

from __future__ import annotations

import time
from typing import Any, Final, Literal

from playwright.sync_api import Browser, Page

from tests.browser.browsers import chromium_context, open_source
from tests.browser.journeys import Journey, share, start_class, teacher_creates_class

CODECS: Final = ("VP8", "VP9", "H264", "AV1")
USED_S_MAX = 15.0
UNSUPPORTED: Final = "This browser cannot play your teacher’s picture"

# Statistics of the newest connection's picture, and its codec, by kind of stream.
_VIDEO = """async (type) => {
  const stats = await connections.at(-1).getStats();
  for (const one of stats.values()) {
    if (one.type === type && one.kind === "video" && stats.has(one.codecId)) {
      const codec = stats.get(one.codecId).mimeType.split("/")[1].toUpperCase();
      return { ...one, codec };
    }
  }
  return { codec: "none" };
}"""

# A browser that offers VP8 alone, as far as the server can see.
ONLY_VP8: Final = """
const add = RTCPeerConnection.prototype.addTransceiver;
RTCPeerConnection.prototype.addTransceiver = function (kind, ...rest) {
  const transceiver = add.call(this, kind, ...rest);
  if (kind === "video") {
    const { codecs } = RTCRtpReceiver.getCapabilities("video");
    transceiver.setCodecPreferences(
      codecs.filter((codec) => /^video\\/(vp8|rtx)$/i.test(codec.mimeType)),
    );
  }
  return transceiver;
};
"""


def class_with_a_share(
    teacher_browser: Browser, url: str, source_url: str, script: str = ""
) -> tuple[Journey, str]:
    """Return a teacher who shares a screen, and the link."""
    teaching = chromium_context(teacher_browser, permissions=["microphone"])
    if script:
        teaching.add_init_script(script)
    teacher, link = teacher_creates_class(teaching, url)
    open_source(teaching, source_url)
    teacher.page.bring_to_front()
    start_class(teacher.page)
    share(teacher.page)
    return teacher, link


def choose(page: Page, codec: str) -> None:
    """Choose the video format on the teacher's page, as a teacher does."""
    setting = page.get_by_label("Video format")
    if not setting.is_visible():
        page.get_by_text("More settings").click()
    setting.select_option(codec)


def received(page: Page) -> dict[str, Any]:
    """Return the statistics of the picture that a student's page receives, with its `codec`."""
    stats: dict[str, Any] = page.evaluate(_VIDEO, "inbound-rtp")
    return stats


def sent(page: Page) -> dict[str, Any]:
    """Return the same of what a teacher's page sends."""
    stats: dict[str, Any] = page.evaluate(_VIDEO, "outbound-rtp")
    return stats


def wait_for_codec(page: Page, codec: str, frames: int = 5) -> None:
    """Wait until the page decodes pictures of this codec, so many of them."""
    deadline = time.monotonic() + USED_S_MAX
    first: int | None = None
    while True:
        stats = received(page)
        if stats["codec"] == codec:
            decoded = int(stats.get("framesDecoded", 0))
            first = decoded if first is None else first
            if decoded - first >= frames:
                return
        assert time.monotonic() < deadline, f"not in {codec}: {stats}"
        page.wait_for_timeout(50)


def descriptors(direction: Literal["sendrecv", "stopped"]) -> str:
    """Return the script of a browser that asks for dependency descriptors, or that does not know them.

    By itself Chromium offers them where it sends layers, and does not where it watches.
    """
    return f"""
const add = RTCPeerConnection.prototype.addTransceiver;
RTCPeerConnection.prototype.addTransceiver = function (...parts) {{
  const transceiver = add.apply(this, parts);
  const extensions = transceiver.getHeaderExtensionsToNegotiate();
  for (const extension of extensions) {{
    if (extension.uri.includes("#dependency-descriptor")) extension.direction = "{direction}";
  }}
  transceiver.setHeaderExtensionsToNegotiate(extensions);
  return transceiver;
}};
"""


def send_in_layers(page: Page, mode: str) -> None:
    """Make the teacher's browser send temporal layers, e.g. L1T3, in the codec it sends in."""
    page.evaluate(
        """async (mode) => {
          const [sender] = connections.at(-1).getSenders().filter((s) => s.track?.kind === "video");
          const parameters = sender.getParameters();
          parameters.encodings[0].scalabilityMode = mode;
          await sender.setParameters(parameters);
        }""",
        mode,
    )


def is_described(page: Page) -> bool:
    """Return whether both sides agreed to dependency descriptors."""
    text: str = page.evaluate("connections.at(-1).remoteDescription.sdp")
    return "#dependency-descriptor" in text
