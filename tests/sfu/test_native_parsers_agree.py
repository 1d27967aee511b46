"""The core's RTP and RTCP parsers and aiortc's read the same out of the same bytes.

Where one refuses what the other reads, it is for a reason named here.
"""

from __future__ import annotations

import random
import struct
from collections import Counter
from typing import Any

import pytest
from aiortc import rtp as aiortc_rtp

from sfu import _core

SEEDS = range(8)
PACKETS = 1500


# RTP


def generated_rtp(chance: random.Random) -> bytes:
    csrcs = chance.choice([0, 0, 0, 1, 2, 15])
    extension = chance.choice([None, None, 0xBEDE, 0xBEDE, 0x1000, 0x1234])
    padding = chance.choice([0, 0, 0, 1, 4, 255])
    first = 0x80 | (padding > 0) << 5 | (extension is not None) << 4 | csrcs
    packet = bytes([first, chance.randrange(256)]) + chance.randbytes(10 + 4 * csrcs)
    if extension is not None:
        value = _elements(chance, extension)
        packet += struct.pack("!HH", extension, len(value) // 4) + value
    packet += chance.randbytes(chance.choice([0, 1, 100, 1200]))
    if padding:
        packet += bytes(padding - 1) + bytes([padding])
    return packet


def _elements(chance: random.Random, profile: int) -> bytes:
    value = b""
    for _ in range(chance.randrange(6)):
        if profile == 0xBEDE:
            length = chance.randrange(1, 17)
            value += bytes([chance.randrange(1, 15) << 4 | length - 1])
        else:
            length = chance.choice([0, 1, 16, 17, 60])
            value += bytes([chance.randrange(1, 256), length])
        value += chance.randbytes(length) + bytes(chance.choice([0, 0, 1, 3]))
    return value + bytes(-len(value) % 4)


def their_rtp(packet: bytes) -> dict[str, object] | None:
    try:
        parsed = aiortc_rtp.RtpPacket.parse(packet)
    except ValueError:
        return None
    offset = len(packet) - parsed.padding_size - len(parsed.payload)
    extensions: list[tuple[int, bytes]] = []
    if packet[0] & 0x10:
        profile, words = struct.unpack_from("!HH", packet, 12 + 4 * len(parsed.csrc))
        value = packet[offset - 4 * words : offset]
        extensions = aiortc_rtp.unpack_header_extensions(profile, value)
    return {
        "payload_type": parsed.payload_type,
        "marker": bool(parsed.marker),
        "sequence": parsed.sequence_number,
        "timestamp": parsed.timestamp,
        "ssrc": parsed.ssrc,
        "csrc": parsed.csrc,
        "extensions": extensions,
        "payload_offset": offset,
        "payload_length": len(parsed.payload),
        "padding_length": parsed.padding_size,
    }


def rtp_difference(packet: bytes) -> str | None:
    """Compare both parsers; return the reason of an allowed difference, None for agreement."""
    ours, theirs = _core.parse_rtp(packet), their_rtp(packet)
    if ours == theirs:
        return None
    assert ours is not None, "never stricter than aiortc"
    profile, value = _extension(packet)
    if theirs is None:
        # A malformed element costs its extension, not the packet: the media in it is good.
        with pytest.raises(ValueError):
            aiortc_rtp.unpack_header_extensions(profile, value)
        return "malformed element"
    assert {**ours, "extensions": []} == {**theirs, "extensions": []}
    our_list, their_list = ours["extensions"], theirs["extensions"]
    assert isinstance(our_list, list) and isinstance(their_list, list)
    if profile == 0xBEDE:
        # RFC 8285 section 4.2: id 15, and id 0 with a length, end the elements; aiortc reads on.
        assert our_list == their_list[: len(our_list)]
        reserved = their_list[len(our_list)][0]
        assert reserved in (0, 15)
        return f"reserved id {reserved}"
    # RFC 8285 section 4.3: the low four bits of the two-byte profile are free; aiortc knows 0x1000 alone.
    assert 0x1001 <= profile <= 0x100F and their_list == []
    return "application bits"


def _extension(packet: bytes) -> tuple[int, bytes]:
    at = 12 + 4 * (packet[0] & 0x0F)
    profile, words = struct.unpack_from("!HH", packet, at)
    return profile, packet[at + 4 : at + 4 + 4 * words]


@pytest.mark.parametrize("seed", SEEDS)
def test_generated_rtp_is_read_alike(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(PACKETS):
        packet = generated_rtp(chance)
        assert _core.parse_rtp(packet) is not None
        assert rtp_difference(packet) is None


@pytest.mark.parametrize("seed", SEEDS)
def test_mutated_rtp_is_judged_alike(seed: int) -> None:
    chance = random.Random(100 + seed)
    seen: Counter[str] = Counter()
    for _ in range(4 * PACKETS):
        packet = mutated(chance, generated_rtp(chance))
        seen[rtp_difference(packet) or "agreed"] += 1
        seen["refused"] += _core.parse_rtp(packet) is None
    assert seen["agreed"] > 2 * PACKETS and seen["refused"] > 100
    assert seen["malformed element"] > 0
    assert seen["reserved id 0"] > 0 and seen["reserved id 15"] > 0


# RTCP


def generated_rtcp(chance: random.Random) -> bytes:
    """A compound of one to four packets as aiortc writes them, or as other senders do."""
    makers = [_sr, _rr, _sdes, _bye, _nack, _pli, _fir, _remb, _other]
    return b"".join(chance.choice(makers)(chance) for _ in range(chance.randrange(1, 5)))


def _blocks(chance: random.Random) -> list[aiortc_rtp.RtcpReceiverInfo]:
    return [
        aiortc_rtp.RtcpReceiverInfo(
            ssrc=chance.getrandbits(32),
            fraction_lost=chance.randrange(256),
            packets_lost=chance.choice([0, -1, 1, -(1 << 23), (1 << 23) - 1]),
            highest_sequence=chance.getrandbits(32),
            jitter=chance.getrandbits(32),
            lsr=chance.getrandbits(32),
            dlsr=chance.getrandbits(32),
        )
        for _ in range(chance.choice([0, 1, 2, 31]))
    ]


def _sr(chance: random.Random) -> bytes:
    info = aiortc_rtp.RtcpSenderInfo(
        ntp_timestamp=chance.getrandbits(64),
        rtp_timestamp=chance.getrandbits(32),
        packet_count=chance.getrandbits(32),
        octet_count=chance.getrandbits(32),
    )
    ssrc = chance.getrandbits(32)
    return bytes(aiortc_rtp.RtcpSrPacket(ssrc=ssrc, sender_info=info, reports=_blocks(chance)))


def _rr(chance: random.Random) -> bytes:
    return bytes(aiortc_rtp.RtcpRrPacket(ssrc=chance.getrandbits(32), reports=_blocks(chance)))


def _sdes(chance: random.Random) -> bytes:
    # One chunk: aiortc begins a second one at any byte, RFC 3550 section 6.5 at a whole word.
    items = [
        (chance.randrange(1, 9), chance.randbytes(chance.choice([0, 1, 2, 3, 36, 255])))
        for _ in range(chance.randrange(3))
    ]
    chunk = aiortc_rtp.RtcpSourceInfo(ssrc=chance.getrandbits(32), items=items)
    return bytes(aiortc_rtp.RtcpSdesPacket(chunks=[chunk]))


def _bye(chance: random.Random) -> bytes:
    sources = [chance.getrandbits(32) for _ in range(chance.choice([0, 1, 2, 31]))]
    return bytes(aiortc_rtp.RtcpByePacket(sources=sources))


def _nack(chance: random.Random) -> bytes:
    lost = sorted(chance.sample(range(0x10000), chance.choice([1, 2, 50])))
    lost = [*lost, *range(lost[-1] + 1, min(lost[-1] + 20, 0x10000))]
    return bytes(
        aiortc_rtp.RtcpRtpfbPacket(
            fmt=1, ssrc=chance.getrandbits(32), media_ssrc=chance.getrandbits(32), lost=lost
        )
    )


def _payload_feedback(chance: random.Random, fmt: int, fci: bytes) -> bytes:
    return bytes(
        aiortc_rtp.RtcpPsfbPacket(
            fmt=fmt, ssrc=chance.getrandbits(32), media_ssrc=chance.getrandbits(32), fci=fci
        )
    )


def _pli(chance: random.Random) -> bytes:
    return _payload_feedback(chance, aiortc_rtp.RTCP_PSFB_PLI, b"")


def _fir(chance: random.Random) -> bytes:
    fci = chance.randbytes(8 * chance.randrange(4))
    return _payload_feedback(chance, aiortc_rtp.RTCP_PSFB_FIR, fci)


def _remb(chance: random.Random) -> bytes:
    ssrcs = [chance.getrandbits(32) for _ in range(chance.randrange(4))]
    bitrate = chance.getrandbits(chance.randrange(60))
    return _payload_feedback(
        chance, aiortc_rtp.RTCP_PSFB_APP, aiortc_rtp.pack_remb_fci(bitrate, ssrcs)
    )


def _other(chance: random.Random) -> bytes:
    body = chance.randbytes(4 * chance.randrange(5))
    kind = chance.choice([192, 204, 207, 208, 223])
    return aiortc_rtp.pack_rtcp_packet(kind, chance.randrange(32), body)


def their_rtcp(compound: bytes) -> list[dict[str, object]] | None:
    """What aiortc reads, in the core's words; None where it refuses."""
    try:
        return [_in_our_words(packet) for packet in aiortc_rtp.RtcpPacket.parse(compound)]
    except (ValueError, struct.error):
        return None


def _in_our_words(packet: Any) -> dict[str, object]:
    match packet:
        case aiortc_rtp.RtcpSrPacket(ssrc=ssrc, sender_info=info, reports=reports):
            return {
                "type": "sr",
                "ssrc": ssrc,
                "ntp": info.ntp_timestamp,
                "rtp_timestamp": info.rtp_timestamp,
                "packet_count": info.packet_count,
                "octet_count": info.octet_count,
                "reports": [vars(report) for report in reports],
            }
        case aiortc_rtp.RtcpRrPacket(ssrc=ssrc, reports=reports):
            return {"type": "rr", "ssrc": ssrc, "reports": [vars(report) for report in reports]}
        case aiortc_rtp.RtcpSdesPacket(chunks=chunks):
            return {"type": "sdes", "chunks": [vars(chunk) for chunk in chunks]}
        case aiortc_rtp.RtcpByePacket(sources=sources):
            return {"type": "bye", "ssrcs": sources}
        case aiortc_rtp.RtcpRtpfbPacket(fmt=1, ssrc=ssrc, media_ssrc=media, lost=lost):
            # aiortc counts past the wrap: 65536 for 0.
            wrapped = [sequence & 0xFFFF for sequence in lost]
            return {"type": "nack", "ssrc": ssrc, "media_ssrc": media, "lost": wrapped}
        case aiortc_rtp.RtcpPsfbPacket(fmt=1, ssrc=ssrc, media_ssrc=media):
            return {"type": "pli", "ssrc": ssrc, "media_ssrc": media}
        case aiortc_rtp.RtcpPsfbPacket(fmt=4, ssrc=ssrc, fci=fci) if len(fci) % 8 == 0:
            entries = [struct.unpack_from("!LB", fci, at) for at in range(0, len(fci), 8)]
            return {"type": "fir", "ssrc": ssrc, "entries": entries}
        case aiortc_rtp.RtcpPsfbPacket(fmt=15, ssrc=ssrc, fci=fci) if fci[:4] == b"REMB":
            bitrate, ssrcs = aiortc_rtp.unpack_remb_fci(fci)
            # An exponent of six bits passes 64 bits: the core stops there.
            bitrate = min(bitrate, 2**64 - 1)
            return {"type": "remb", "ssrc": ssrc, "bitrate_bps": bitrate, "ssrcs": ssrcs}
        case aiortc_rtp.RtcpPsfbPacket(fmt=fmt):
            return {"type": "other", "packet_type": 206, "count": fmt}
        case aiortc_rtp.RtcpRtpfbPacket(fmt=fmt):
            return {"type": "other", "packet_type": 205, "count": fmt}
        case _:
            raise AssertionError(packet)


def rtcp_difference(compound: bytes) -> str | None:
    """Compare both parsers; return the reason of an allowed difference, None for agreement."""
    ours, theirs = _core.parse_rtcp(compound), their_rtcp(compound)
    if ours is not None:
        # aiortc passes over types that it does not know, without a word.
        ours = [
            report
            for report in ours
            if report["type"] != "other" or report["packet_type"] in (205, 206)
        ]
    if ours == theirs:
        return None
    reasons = set(_reasons(compound))
    assert reasons, f"{compound.hex()}: {ours} and {theirs}"
    return sorted(reasons)[0]


def _reasons(compound: bytes) -> list[str]:
    """Where the two may differ in this compound."""
    if not compound:
        return ["empty"]
    reasons = []
    at = 0
    while at + 4 <= len(compound):
        first, kind, words = struct.unpack_from("!BBH", compound, at)
        body = compound[at + 4 : at + 4 + 4 * words]
        if first & 0x20 and body and 0 < body[-1] <= len(body):
            body = body[: -body[-1]]
        count = first & 0x1F
        fixed = {200: 24, 201: 4}.get(kind)
        if fixed is not None and len(body) > fixed + 24 * count:
            # RFC 3550 section 6.4.3: what follows the blocks is a profile's; aiortc refuses it.
            reasons.append("profile-specific extension")
        if kind == 202:
            # aiortc reads chunks from any byte and lists without an end.
            reasons.append("source description")
        if kind == 205 and count == 15:
            # aiortc reads transport-wide feedback as it reads NACKs.
            reasons.append("transport-wide feedback")
        if kind == 205 and count != 1 and len(body) % 4:
            reasons.append("unknown feedback of odd length")
        if kind == 206 and count == 4 and len(body) % 8:
            # aiortc hands the entries on unread.
            reasons.append("cut FIR")
        at += 4 + 4 * words
    return reasons


@pytest.mark.parametrize("seed", SEEDS)
def test_generated_rtcp_is_read_alike(seed: int) -> None:
    chance = random.Random(200 + seed)
    for _ in range(PACKETS):
        compound = generated_rtcp(chance)
        assert _core.parse_rtcp(compound) is not None, compound.hex()
        assert _core.parse_rtcp(compound) and rtcp_difference(compound) is None


@pytest.mark.parametrize("seed", SEEDS)
def test_mutated_rtcp_is_judged_alike(seed: int) -> None:
    chance = random.Random(300 + seed)
    seen: Counter[str] = Counter()
    for _ in range(4 * PACKETS):
        compound = mutated(chance, generated_rtcp(chance))
        seen[rtcp_difference(compound) or "agreed"] += 1
        seen["refused"] += _core.parse_rtcp(compound) is None
    assert seen["agreed"] > 3 * PACKETS and seen["refused"] > 500
    assert seen["profile-specific extension"] > 0


# Both


def mutated(chance: random.Random, packet: bytes) -> bytes:
    """Flip, cut, insert, or set a length: mostly near the beginning, where the structure is."""
    for _ in range(chance.choice([1, 1, 2, 5])):
        reach = min(len(packet), chance.choice([4, 16, 64, 2000]))
        if reach == 0:
            break
        at = chance.randrange(reach)
        match chance.randrange(5):
            case 0:
                packet = (
                    packet[:at] + bytes([packet[at] ^ 1 << chance.randrange(8)]) + packet[at + 1 :]
                )
            case 1:
                packet = (
                    packet[:at]
                    + bytes([chance.choice([0, 1, 0x7F, 0x80, 0xFF])])
                    + packet[at + 1 :]
                )
            case 2:
                packet = packet[: chance.randrange(len(packet) + 1)]
            case 3:
                packet = packet[:at] + chance.randbytes(chance.choice([1, 4, 8])) + packet[at:]
            case _:
                packet = packet[:at] + packet[at + chance.choice([1, 4]) :]
    return packet


@pytest.mark.parametrize("seed", SEEDS)
def test_random_bytes_are_judged_alike(seed: int) -> None:
    chance = random.Random(400 + seed)
    for _ in range(PACKETS):
        garbage = chance.randbytes(chance.randrange(120))
        if garbage and chance.randrange(2):
            garbage = bytes([0x80 | garbage[0] & 0x3F, 200 + chance.randrange(8)]) + garbage[2:]
        rtp_difference(garbage)
        rtcp_difference(garbage)
