"""The core's SRTP and libsrtp seal the same bytes, and open or refuse the same datagrams."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pylibsrtp
import pytest

from sfu._core import SrtpOpener, SrtpSealer

if TYPE_CHECKING:
    from sfu._core import Profile

# Profile, libsrtp's name of it, bytes of key and salt.
PROFILES: list[tuple[Profile, int, int]] = [
    ("AEAD_AES_128_GCM", pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 28),
    ("AEAD_AES_256_GCM", pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_256_GCM, 44),
    ("AES128_CM_SHA1_80", pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 30),
]
SEEDS = range(6)

# The core's; libsrtp's own default is 128, and its RTCP window is always that.
REPLAY_WINDOW_PACKETS = 1024
LIBSRTP_RTCP_WINDOW_PACKETS = 128


class Pair:
    """Both implementations of both directions under the same random keys."""

    def __init__(self, profile: tuple[Profile, int, int], chance: random.Random) -> None:
        name, number, key_bytes = profile
        secret = chance.randbytes(key_bytes)
        self.sealer = SrtpSealer(name, secret)
        self.opener = SrtpOpener(name, secret)
        self.other_sealer = _session(number, secret, pylibsrtp.Policy.SSRC_ANY_OUTBOUND)
        self.other_opener = _session(number, secret, pylibsrtp.Policy.SSRC_ANY_INBOUND)

    def open_rtp(self, sealed: bytes) -> bytes | None:
        ours = self.opener.open_rtp(sealed)
        theirs = _opened(self.other_opener.unprotect, sealed)
        assert ours == theirs
        return ours

    def open_rtcp(self, sealed: bytes) -> bytes | None:
        ours = self.opener.open_rtcp(sealed)
        theirs = _opened(self.other_opener.unprotect_rtcp, sealed)
        assert ours == theirs
        return ours


def _session(profile: int, secret: bytes, direction: int) -> pylibsrtp.Session:
    policy = pylibsrtp.Policy(key=secret, ssrc_type=direction, srtp_profile=profile)
    policy.window_size = REPLAY_WINDOW_PACKETS
    return pylibsrtp.Session(policy)


def _opened(unprotect: object, sealed: bytes) -> bytes | None:
    assert callable(unprotect)
    try:
        return bytes(unprotect(sealed))
    except pylibsrtp.Error:
        return None


def rtp(chance: random.Random, ssrc: int, sequence: int) -> bytes:
    """Any RTP packet: with and without CSRCs, extension, marker and payload."""
    csrcs = chance.choice([0, 0, 0, 1, 15])
    words = chance.choice([None, None, 0, 1, 7])
    packet = bytes(
        [
            0x80 | (words is not None) << 4 | csrcs,
            chance.randrange(2) << 7 | chance.choice([0, 96, 111, 127]),
        ]
    )
    packet += sequence.to_bytes(2, "big") + chance.randbytes(4) + ssrc.to_bytes(4, "big")
    packet += chance.randbytes(4 * csrcs)
    if words is not None:
        packet += bytes.fromhex("bede") + words.to_bytes(2, "big") + chance.randbytes(4 * words)
    return packet + chance.randbytes(chance.choice([0, 1, 15, 16, 17, 160, 1100]))


def rtcp(chance: random.Random, ssrc: int) -> bytes:
    words = chance.choice([1, 2, 6, 12, 250])
    head = bytes([0x80 | chance.randrange(32), chance.randrange(200, 207)])
    body = ssrc.to_bytes(4, "big") + chance.randbytes(4 * (words - 1))
    return head + words.to_bytes(2, "big") + body


def sent(
    chance: random.Random, count: int, starts: list[int], jumps: list[int]
) -> Iterator[tuple[int, int]]:
    """(ssrc, sequence) of `count` packets in a few streams that step, jump and wrap."""
    ssrcs = [0, 1, 0xFFFFFFFF, *(chance.getrandbits(32) for _ in range(3))]
    nexts = {ssrc: chance.choice(starts) for ssrc in ssrcs}
    for _ in range(count):
        ssrc = chance.choice(ssrcs)
        yield ssrc, nexts[ssrc] & 0xFFFF
        nexts[ssrc] += chance.choice([1] * 40 + jumps)


def disturbed(chance: random.Random, packets: list[bytes], late_max: int) -> Iterator[bytes]:
    """The packets as a bad network gives them: lost, late, repeated, damaged."""
    waiting: list[tuple[float, bytes]] = []
    for at, packet in enumerate(packets):
        waiting.append((at + chance.choice([0] * 6 + [3.5, late_max]) * chance.random(), packet))
        if chance.random() < 0.1:
            waiting.append((at + late_max * chance.random(), packet))
        if chance.random() < 0.1:
            waiting.append((at - 0.5, damaged(chance, packet)))
    waiting.sort(key=lambda entry: entry[0])
    return (packet for _, packet in waiting if chance.random() > 0.05)


def damaged(chance: random.Random, packet: bytes) -> bytes:
    kind = chance.randrange(4)
    if kind == 0:
        return packet[: chance.randrange(len(packet))]
    if kind == 1:
        return packet + chance.randbytes(chance.randrange(1, 20))
    at = chance.randrange(12 if kind == 2 else len(packet))
    at = min(at, len(packet) - 1)
    return packet[:at] + bytes([packet[at] ^ 1 << chance.randrange(8)]) + packet[at + 1 :]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: str(profile[0]))
def test_rtp_is_sealed_to_the_same_bytes(profile: tuple[Profile, int, int], seed: int) -> None:
    chance = random.Random(seed)
    pair = Pair(profile, chance)
    starts = [0, 1, 0x7FFE, 0x8000, 0xFFF0, 0xFFFF]
    for ssrc, sequence in sent(chance, 1500, starts, [2, 3, 900, 1100, 20_000, 0x7FFF]):
        clear = rtp(chance, ssrc, sequence)
        sealed = pair.sealer.seal_rtp(clear)
        assert sealed == pair.other_sealer.protect(clear)
        assert pair.open_rtp(sealed) == clear


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: str(profile[0]))
def test_a_bad_network_is_judged_alike(profile: tuple[Profile, int, int], seed: int) -> None:
    chance = random.Random(1000 + seed)
    pair = Pair(profile, chance)
    # Early losses at the end of a cycle hide the rollover from any receiver: start well before it.
    numbers = sent(chance, 2500, [0, 1, 0x7FFE, 0x8000, 0xFE00], [2, 3, 200, 900])
    clear = [rtp(chance, ssrc, sequence) for ssrc, sequence in numbers]
    if seed % 2:
        sealed = [pair.sealer.seal_rtp(packet) for packet in clear]
    else:
        sealed = [pair.other_sealer.protect(packet) for packet in clear]
    opened = [pair.open_rtp(packet) for packet in disturbed(chance, sealed, late_max=600)]
    good = [packet for packet in opened if packet is not None]
    assert set(good) <= set(clear)
    assert len(set(good)) == len(good), "opened twice"
    assert len(good) > 0.7 * len(clear), "the network was too bad to prove anything"
    assert opened.count(None) > 200, "nothing was refused"


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: str(profile[0]))
def test_a_stream_agrees_over_three_rollovers(profile: tuple[Profile, int, int]) -> None:
    chance = random.Random(77)
    pair = Pair(profile, chance)
    for index in range(0x7FF0, 0x7FF0 + 3 * 0x10000, 37):
        clear = rtp(chance, 5, index & 0xFFFF)
        sealed = pair.sealer.seal_rtp(clear)
        assert sealed == pair.other_sealer.protect(clear)
        assert pair.open_rtp(sealed) == clear
        assert pair.open_rtp(sealed) is None


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: str(profile[0]))
def test_the_replay_window_ends_at_the_same_packet(profile: tuple[Profile, int, int]) -> None:
    chance = random.Random(78)
    pair = Pair(profile, chance)
    count = REPLAY_WINDOW_PACKETS + 50
    sealed = [pair.sealer.seal_rtp(rtp(chance, 9, 0xFF00 + at & 0xFFFF)) for at in range(count)]
    assert pair.open_rtp(sealed[0]) is not None
    opened = [pair.open_rtp(packet) is not None for packet in reversed(sealed)]
    assert opened == [at < REPLAY_WINDOW_PACKETS for at in range(count)]
    assert not any(pair.open_rtp(packet) for packet in sealed)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: str(profile[0]))
def test_rtcp_is_sealed_and_judged_alike(profile: tuple[Profile, int, int], seed: int) -> None:
    chance = random.Random(2000 + seed)
    pair = Pair(profile, chance)
    # One source: libsrtp counts its SRTCP index per source, the core per direction. Both are within the RFC.
    clear = [rtcp(chance, 0xABCD0123) for _ in range(1500)]
    sealed = [pair.sealer.seal_rtcp(packet) for packet in clear]
    assert sealed == [pair.other_sealer.protect_rtcp(packet) for packet in clear]
    late_max = LIBSRTP_RTCP_WINDOW_PACKETS // 2
    opened = [pair.open_rtcp(packet) for packet in disturbed(chance, sealed, late_max)]
    good = [packet for packet in opened if packet is not None]
    assert len(good) > 0.8 * len(clear)
    assert opened.count(None) > 100
    assert set(good) <= set(clear)


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: str(profile[0]))
def test_garbage_opens_nothing(profile: tuple[Profile, int, int]) -> None:
    chance = random.Random(79)
    pair = Pair(profile, chance)
    for _ in range(3000):
        garbage = bytes([0x80 | chance.randrange(64)]) + chance.randbytes(chance.randrange(200))
        assert pair.open_rtp(garbage) is None
        assert pair.open_rtcp(garbage) is None


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: str(profile[0]))
def test_other_keys_open_nothing(profile: tuple[Profile, int, int]) -> None:
    chance = random.Random(80)
    one, other = Pair(profile, chance), Pair(profile, chance)
    assert other.open_rtp(one.sealer.seal_rtp(rtp(chance, 1, 1))) is None
    assert other.open_rtcp(one.sealer.seal_rtcp(rtcp(chance, 1))) is None


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: str(profile[0]))
def test_keys_of_the_wrong_size_are_refused(profile: tuple[Profile, int, int]) -> None:
    name, _, key_bytes = profile
    for wrong in (0, key_bytes - 1, key_bytes + 1):
        with pytest.raises(ValueError):
            SrtpSealer(name, bytes(wrong))
        with pytest.raises(ValueError):
            SrtpOpener(name, bytes(wrong))
