"""Offers recorded from Chromium, Firefox and aiortc, and the answers they get."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from aiortc.sdp import SessionDescription

from signaling import sdp
from signaling.answer import candidate_lines, write_answer
from signaling.offer import read_offer
from signaling.sdp import ReadOffer
from wire.codec import pack, unpack
from wire.session import Answer, Candidate, Offer, Outgoing

OFFERS = Path(__file__).parent / "offers"
FINGERPRINT = ("sha-256", ":".join(["AB"] * 32))


def read(name: str) -> ReadOffer:
    role: Literal["publisher", "viewer"] = "viewer" if name.endswith("viewer") else "publisher"
    return read_offer((OFFERS / f"{name}.sdp").read_bytes(), role)


def answer_of(offer: ReadOffer, **changes: object) -> Answer:
    outgoing = {}
    if offer.role == "viewer":
        for index, section in enumerate(offer.offer.sections):
            stream = "mic" if section.slot == "mic" else "screen"
            rtx = 2000 + index if section.kind == "video" else None
            outgoing[section.mid] = Outgoing(1000 + index, "c", stream, f"t{index}", rtx)
    fields: dict[str, object] = {
        "ice_ufrag": "ourufrag",
        "ice_pwd": "ourpassword0123456789abc",
        "fingerprint": FINGERPRINT,
        "dtls_role": "server",
        "candidates": (Candidate("192.0.2.1", 7000), Candidate("2001:db8::1", 7000)),
        "outgoing": outgoing,
    }
    return Answer(**{**fields, **changes})  # type: ignore[arg-type]


ALL = sorted(path.stem for path in OFFERS.glob("*.sdp"))


@pytest.mark.parametrize("name", ALL)
def test_every_recorded_offer_is_read_and_its_meaning_survives_the_wire(name: str) -> None:
    offer = read(name).offer
    assert unpack(Offer, pack(offer)) == offer
    assert offer.dtls_role == "client"
    assert {a for a, _ in offer.fingerprints} <= {"sha-256", "sha-384", "sha-512"}
    for section in offer.sections:
        assert section.extensions[sdp.MID] in range(1, 15)
        assert section.codecs[0].name == ("VP8" if section.kind == "video" else "OPUS")


@pytest.mark.parametrize("name", ALL)
def test_every_answer_mirrors_its_offer(name: str) -> None:
    offer = read(name)
    text = write_answer(offer, answer_of(offer))
    offered = SessionDescription.parse((OFFERS / f"{name}.sdp").read_text())
    answered = SessionDescription.parse(text)
    assert [m.kind for m in answered.media] == [m.kind for m in offered.media]
    assert [m.rtp.muxId for m in answered.media] == [m.rtp.muxId for m in offered.media]
    assert answered.group[0].items == [m.rtp.muxId for m in offered.media]
    for ours, theirs in zip(answered.media, offered.media, strict=True):
        assert ours.port == 9
        assert ours.ice is not None and ours.ice.iceLite
        assert ours.ice.usernameFragment == "ourufrag"
        assert ours.dtls is not None and ours.dtls.role == "server"
        assert set(ours.fmt) <= set(theirs.fmt)
        assert {(e.id, e.uri) for e in ours.rtp.headerExtensions} <= {
            (e.id, e.uri) for e in theirs.rtp.headerExtensions
        }
        if ours.kind != "application":
            assert ours.rtcp_mux
            assert ours.direction == ("sendonly" if offer.role == "viewer" else "recvonly")
            for codec in ours.rtp.codecs:
                original = next(c for c in theirs.rtp.codecs if c.payloadType == codec.payloadType)
                assert codec == original or {f.type for f in original.rtcpFeedback} > {
                    f.type for f in codec.rtcpFeedback
                }
                assert "goog-remb" not in {f.type for f in codec.rtcpFeedback}
    assert len(answered.media[0].ice_candidates) == 2
    assert "a=extmap-allow-mixed" in text or "extmap-allow-mixed" not in str(offer)
    assert text.count("a=rtcp-rsize") == sum(s.rtcp_rsize for s in offer.sections)


def test_chromium_publisher_keeps_codecs_by_preference_with_repair_and_feedback() -> None:
    offer = read("chromium_publisher").offer
    mic, video, screen_audio = offer.sections
    assert [s.slot for s in offer.sections] == ["mic", "video", "screen_audio"]
    assert [c.name for c in video.codecs] == ["VP8"] + ["H264"] * 6 + ["AV1"] + ["VP9"] * 2
    vp8 = video.codecs[0]
    assert (vp8.payload_type, vp8.rtx_payload_type, vp8.clock_rate) == (96, 97, 90000)
    assert vp8.nack and vp8.pli and vp8.transport_cc
    assert video.sources[0].ssrc == 3777196541 and video.sources[0].rtx_ssrc == 3237690830
    assert len(mic.sources) == len(screen_audio.sources) == 1
    assert mic.codecs[0].channels == 2
    assert mic.codecs[0].fmtp == "minptime=10;useinbandfec=1"
    assert video.extensions[sdp.TRANSPORT_CC] == 3
    assert sdp.STREAM_ID not in video.extensions
    assert offer.sctp_port == 5000 and offer.sctp_max_message_size == 262144


@pytest.mark.parametrize("browser", ["chromium", "firefox"])
def test_a_viewer_keeps_every_codec_that_a_teacher_may_send(browser: str) -> None:
    offer = read(f"{browser}_viewer")
    offered = SessionDescription.parse((OFFERS / f"{browser}_viewer.sdp").read_text())
    answered = SessionDescription.parse(write_answer(offer, answer_of(offer)))

    def codecs(description: SessionDescription) -> set[tuple[int | None, str, str]]:
        return {
            (c.payloadType, c.mimeType, str(sorted(c.parameters.items())))
            for c in description.media[0].rtp.codecs
            if c.name in ("VP8", "VP9", "H264", "AV1")
        }

    assert codecs(answered) == codecs(offered)
    names = [c.name for c in offer.offer.sections[0].codecs]
    wanted = {"VP8": 1, "VP9": 1, "AV1": 1} if browser == "firefox" else {
        "VP8": 1, "VP9": 4, "H264": 8, "AV1": 2,
    }  # fmt: skip
    assert {name: names.count(name) for name in names} == wanted


def test_a_viewer_gets_dependency_descriptors_only_with_mixed_headers() -> None:
    offered = (OFFERS / "chromium_viewer.sdp").read_bytes().decode()
    line = f"a=extmap:12 {sdp.DEPENDENCY_DESCRIPTOR}\r\n"
    asked = offered.replace("a=extmap:9 ", f"{line}a=extmap:9 ", 1)
    assert asked != offered
    refusing = asked.replace("a=extmap-allow-mixed\r\n", "")
    assert refusing != asked
    in_section = refusing.replace("a=mid:0\r\n", "a=mid:0\r\na=extmap-allow-mixed\r\n")
    for text, taken in ((asked, True), (refusing, False), (in_section, True)):
        offer = read_offer(text.encode(), "viewer")
        assert (line in write_answer(offer, answer_of(offer))) is taken


def test_viewer_answer_names_streams_so_that_screen_and_its_sound_stay_together() -> None:
    offer = read("chromium_viewer")
    text = write_answer(offer, answer_of(offer))
    answered = SessionDescription.parse(text)
    video, mic, screen_audio = answered.media[:3]
    assert video.msid is not None and video.msid.split()[0] == "screen"
    assert screen_audio.msid is not None and screen_audio.msid.split()[0] == "screen"
    assert mic.msid is not None and mic.msid.split()[0] == "mic"
    assert "a=ssrc-group:FID 1000 2000" in text
    assert [s.ssrc for s in video.ssrc] == [1000, 2000]


def test_firefox_second_audio_is_bundle_only_and_accepted() -> None:
    offer = read("firefox_viewer").offer
    assert [s.slot for s in offer.sections] == ["video", "mic", "screen_audio"]
    assert "stereo=1" in offer.sections[1].codecs[0].fmtp
    answer = write_answer(read("firefox_viewer"), answer_of(read("firefox_viewer")))
    assert "stereo=1" in answer


@pytest.mark.parametrize("client", ["chromium", "firefox"])
def test_simulcast_is_taken_only_where_the_node_takes_it(client: str) -> None:
    offer = read(f"{client}_simulcast")
    (section,) = offer.offer.sections
    assert section.rids == ("l", "h")
    plain = write_answer(offer, answer_of(offer))
    assert "rid" not in plain.replace("a=mid", "") and sdp.STREAM_ID not in plain
    taken = write_answer(offer, answer_of(offer, rids={section.mid: ("l", "h")}))
    assert "a=rid:l recv\r\na=rid:h recv\r\na=simulcast:recv l;h\r\n" in taken
    assert sdp.STREAM_ID in taken


def test_extension_directions_are_mirrored() -> None:
    offer = read("firefox_simulcast")
    number = offer.offer.sections[0].extensions[sdp.DEPENDENCY_DESCRIPTOR]
    text = write_answer(offer, answer_of(offer))
    assert f"a=extmap:{number}/recvonly {sdp.DEPENDENCY_DESCRIPTOR}\r\n" in text


def test_candidates_are_ordered_udp_before_tcp_by_the_formulas_of_the_rfcs() -> None:
    lines = candidate_lines(
        (
            Candidate("192.0.2.1", 7000),
            Candidate("2001:db8::1", 7000),
            Candidate("192.0.2.1", 7000, "tcp"),
            Candidate("2001:db8::1", 443, "tcp"),
        )
    )
    # RFC 8445 section 5.1.2.1: 2^24 * type + 2^8 * local + 256 - component; RFC 6544 section 4.2:
    # local = 2^13 * direction + other.
    udp, tcp = 126 * 2**24 + 255, 90 * 2**24 + 255
    assert lines == [
        f"a=candidate:1 1 udp {udp + 65535 * 256} 192.0.2.1 7000 typ host",
        f"a=candidate:2 1 udp {udp + 65534 * 256} 2001:db8::1 7000 typ host",
        f"a=candidate:3 1 tcp {tcp + (4 * 8192 + 8189) * 256} 192.0.2.1 7000 typ host tcptype passive",
        f"a=candidate:4 1 tcp {tcp + (4 * 8192 + 8188) * 256} 2001:db8::1 443 typ host tcptype passive",
        "a=end-of-candidates",
    ]
