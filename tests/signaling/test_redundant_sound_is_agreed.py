"""RED (RFC 2198) is agreed to where it carries Opus, and a teacher's own order says which of them is sent."""

from __future__ import annotations

from pathlib import Path

from signaling.answer import write_answer
from signaling.offer import read_offer
from tests.signaling.test_real_offers_are_answered import answer_of

OFFERS = Path(__file__).parent / "offers"


def edited(name: str, *changes: tuple[str, str]) -> bytes:
    text = (OFFERS / f"{name}.sdp").read_bytes().decode()
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    return text.encode()


def names(offer: bytes) -> list[str]:
    section = next(s for s in read_offer(offer, "publisher").offer.sections if s.slot == "mic")
    return [codec.name for codec in section.codecs]


def test_the_teachers_order_is_kept_and_answered() -> None:
    opus_first = edited("chromium_publisher")
    red_first = edited("chromium_publisher", ("SAVPF 111 63", "SAVPF 63 111"))
    assert (names(opus_first), names(red_first)) == (["OPUS", "RED"], ["RED", "OPUS"])
    read = read_offer(red_first, "publisher")
    text = write_answer(read, answer_of(read))
    assert "SAVPF 63 111\r\n" in text
    assert "a=rtpmap:63 red/48000/2\r\n" in text and "a=fmtp:63 111/111\r\n" in text


def test_red_of_something_else_is_left_out() -> None:
    for fmtp in ("111/110", "9/9", "111/111/9"):
        offer = edited("chromium_publisher", ("a=fmtp:63 111/111", f"a=fmtp:63 {fmtp}"))
        assert names(offer) == ["OPUS"], fmtp
    alone = edited(
        "chromium_publisher", ("a=rtpmap:111 opus/48000/2", "a=rtpmap:111 nonsense/48000/2")
    )
    assert all(section.kind != "audio" for section in read_offer(alone, "publisher").offer.sections)
