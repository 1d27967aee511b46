"""The DTLS transport between datagrams and aiortc: edges of either."""

from __future__ import annotations

import asyncio

import pytest
from aiortc import RTCCertificate
from aiortc.rtcdtlstransport import (
    SRTP_AES128_CM_SHA1_80,
    RTCDtlsParameters,
    RTCDtlsTransport,
    State,
)

from sfu.certificate import RENEW_AFTER_S, Certificates, NodeCertificate
from sfu.dtls import (
    BYTES_WAITING_MAX,
    DATAGRAM_BYTES_MAX,
    DATAGRAMS_WAITING_MAX,
    DatagramPipe,
    DtlsTransport,
    split_records,
)


class Pair:
    """Our transport and plain aiortc's, on a wire that a test can hold."""

    def __init__(self, *, role: str = "server") -> None:
        self.to_us: list[bytes] = []
        self.held = False
        self.application_data = 0
        self.ours_pipe = DatagramPipe(self._from_us)
        self.theirs_pipe = DatagramPipe(self._from_them)
        self.certificate = NodeCertificate.generateCertificate()
        self.ours = DtlsTransport(
            self.ours_pipe, self.certificate, role=role, on_application_data=self._count
        )
        self.their_certificate = RTCCertificate.generateCertificate()
        self.theirs = RTCDtlsTransport(self.theirs_pipe, [self.their_certificate])  # type: ignore[arg-type]
        self.theirs._set_role("client" if role == "server" else "server")

    def _count(self) -> None:
        self.application_data += 1

    def _from_us(self, datagram: bytes) -> None:
        assert len(datagram) <= DATAGRAM_BYTES_MAX
        self.theirs_pipe.feed(datagram)

    def _from_them(self, datagram: bytes) -> None:
        if self.held:
            self.to_us.append(datagram)
        else:
            self.ours_pipe.feed(datagram)

    async def connect(self, *, trust: bool = True) -> None:
        fingerprints = self.their_certificate.getFingerprints()
        if not trust:
            fingerprints = RTCCertificate.generateCertificate().getFingerprints()
        await asyncio.gather(
            self.ours.start(RTCDtlsParameters(fingerprints=fingerprints)),
            self.theirs.start(RTCDtlsParameters(fingerprints=self.certificate.getFingerprints())),
        )

    async def close(self) -> None:
        for pipe in (self.ours_pipe, self.theirs_pipe):
            pipe.close()
        await self.ours.stop()
        await self.theirs.stop()


class Receiver:
    def __init__(self) -> None:
        self.taken: list[bytes] = []

    async def _handle_data(self, data: bytes) -> None:
        self.taken.append(data)
        if data == b"poison":
            raise AssertionError("as aiortc's SCTP does")


@pytest.mark.parametrize("role", ["server", "client"])
async def test_both_sides_get_the_same_keys_and_the_fastest_cipher(role: str) -> None:
    pair = Pair(role=role)
    await pair.connect()
    keys = pair.ours.keys
    assert keys is not None
    assert keys.profile == ("AEAD_AES_128_GCM" if role == "server" else "AEAD_AES_256_GCM")
    theirs = pair.theirs._ssl
    assert theirs is not None
    key, salt = (16, 12) if role == "server" else (32, 12)
    material = theirs.export_keying_material(b"EXTRACTOR-dtls_srtp", 2 * (key + salt))
    client = material[:key] + material[2 * key : 2 * key + salt]
    server = material[key : 2 * key] + material[2 * key + salt :]
    assert (keys.local, keys.remote) == ((server, client) if role == "server" else (client, server))
    await pair.close()


async def test_a_peer_of_old_ciphers_is_served() -> None:
    pair = Pair()
    pair.theirs._srtp_profiles = [SRTP_AES128_CM_SHA1_80]
    await pair.connect()
    keys = pair.ours.keys
    assert keys is not None and keys.profile == "AES128_CM_SHA1_80"
    assert len(keys.local) == len(keys.remote) == 30
    await pair.close()


async def test_another_certificate_gives_no_keys() -> None:
    pair = Pair()
    await pair.connect(trust=False)
    assert pair.ours.state == "failed" and pair.ours.keys is None
    await pair.close()


async def test_several_records_in_one_datagram_are_all_delivered() -> None:
    pair = Pair()
    receiver = Receiver()
    pair.ours._register_data_receiver(receiver)
    await pair.connect()
    pair.held = True
    for number in range(5):
        await pair.theirs._send_data(b"%d" % number)
    pair.ours_pipe.feed(b"".join(pair.to_us))
    await asyncio.sleep(0.05)
    assert receiver.taken == [b"0", b"1", b"2", b"3", b"4"]
    assert pair.application_data == 5
    await pair.close()


async def test_junk_among_the_datagrams_harms_nothing() -> None:
    pair = Pair()
    receiver = Receiver()
    pair.ours._register_data_receiver(receiver)
    await pair.connect()
    for junk in (b"", b"\x00", b"\x17", b"\x17\xfe\xfd" + b"\xff" * 50, b"\x80" * 30, b"\x3f"):
        pair.ours_pipe.feed(junk)
    pair.held = True
    await pair.theirs._send_data(b"flipped")
    pair.ours_pipe.feed(pair.to_us[0][:-1] + bytes([pair.to_us[0][-1] ^ 1]))
    pair.held = False
    await pair.theirs._send_data(b"whole")
    await asyncio.sleep(0.05)
    assert receiver.taken == [b"whole"]
    assert pair.application_data == 1  # what is not authentic is no sign of life
    assert pair.ours.state == "connected"
    await pair.close()


async def test_a_receiver_that_fails_closes_the_transport_quietly(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pair = Pair()
    pair.ours._register_data_receiver(Receiver())
    await pair.connect()
    states: list[str] = []
    pair.ours.on("statechange", lambda: states.append(pair.ours.state))
    await pair.theirs._send_data(b"poison")
    await asyncio.sleep(0.05)
    assert states == ["closed"]
    assert not caplog.records
    await pair.close()


async def test_sending_after_the_end_is_silent() -> None:
    pair = Pair()
    await pair.connect()
    await pair.close()
    await asyncio.sleep(0.01)
    assert pair.ours._state == State.CLOSED
    await pair.ours._send_data(b"late")


async def test_a_full_pipe_drops_and_still_closes() -> None:
    pipe = DatagramPipe(lambda datagram: None)
    for _ in range(1000):
        pipe.feed(b"\x17")
    assert pipe.dropped_datagrams == 1000 - DATAGRAMS_WAITING_MAX
    other = DatagramPipe(lambda datagram: None)
    for _ in range(200):
        other.feed(b"\x17" * 1400)
    assert other.dropped_datagrams == 200 - BYTES_WAITING_MAX // 1400
    await other._recv()
    other.feed(b"\x17" * 1400)
    assert other.dropped_datagrams == 200 - BYTES_WAITING_MAX // 1400
    pipe.close()
    pipe.close()
    with pytest.raises(ConnectionError):
        while True:
            await pipe._recv()
    with pytest.raises(ConnectionError):
        await pipe._recv()


def record(length: int) -> bytes:
    return b"\x16\xfe\xfd" + bytes(8) + length.to_bytes(2, "big") + bytes(length)


def test_flights_are_split_between_records() -> None:
    flight = b"".join(record(length) for length in (100, 700, 300, 400, 1187, 5))
    datagrams = split_records(flight)
    assert b"".join(datagrams) == flight
    assert [len(d) for d in datagrams] == [113 + 713 + 313, 413, 1200, 18]
    assert split_records(b"") == []
    assert split_records(b"\x16\xfe") == [b"\x16\xfe"]
    assert [len(d) for d in split_records(record(3000) + record(10))] == [3013, 23]


def test_the_certificate_is_kept_and_renewed_in_time() -> None:
    now = [0.0]
    certificates = Certificates(lambda: now[0])
    first = certificates.current()
    assert first.fingerprint[0] == "sha-256" and len(first.fingerprint[1]) == 95
    now[0] = RENEW_AFTER_S - 1
    assert certificates.current() is first
    now[0] = RENEW_AFTER_S + 1
    second = certificates.current()
    assert second is not first and second.fingerprint != first.fingerprint


def test_a_certificates_context_is_made_once() -> None:
    certificate = NodeCertificate.generateCertificate()
    profiles = [SRTP_AES128_CM_SHA1_80]
    assert certificate._create_ssl_context(profiles) is certificate._create_ssl_context(profiles)
