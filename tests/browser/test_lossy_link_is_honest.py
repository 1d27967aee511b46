"""The link that other tests lose packets on does what it is told."""

from __future__ import annotations

import socket
import statistics
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from tests.browser.namespaces import LossyLink

pytestmark = pytest.mark.netns

PORT = 5000
DATAGRAM_BYTES = 1000


@pytest.fixture
def link() -> Iterator[LossyLink]:
    link = LossyLink(seed=7)
    yield link
    link.close()


def send(
    link: LossyLink, count: int, per_second: float, *, quiet_s: float = 0.4
) -> dict[int, float]:
    """Send numbered datagrams from near to far; return by number how long each took, in seconds.

    Nothing for `quiet_s` is the end: longer than any line here delays.
    """
    took: dict[int, float] = {}
    with link.near.inside():
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with link.far.inside():
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    receiver.bind((LossyLink.FAR, PORT))
    receiver.settimeout(quiet_s)

    def receive() -> None:
        try:
            while True:
                number, sent_s = struct.unpack_from("!Id", receiver.recv(2000))
                took[number] = time.monotonic() - sent_s
        except TimeoutError:
            return

    thread = threading.Thread(target=receive)
    thread.start()
    begin_s = time.monotonic()
    for number in range(count):
        stamp = struct.pack("!Id", number, time.monotonic())
        sender.sendto(stamp.ljust(DATAGRAM_BYTES, b"x"), (LossyLink.FAR, PORT))
        ahead_s = begin_s + (number + 1) / per_second - time.monotonic()
        if ahead_s > 0:
            time.sleep(ahead_s)
    thread.join()
    sender.close()
    receiver.close()
    return took


@pytest.mark.long
def test_it_loses_the_share_it_says_and_no_more_at_thousands_a_second(link: LossyLink) -> None:
    link.set(far={"loss": 0.1, "delay_s": 0.025})
    took = send(link, 6000, per_second=3000)
    counted = link.counters()["far"]
    print(f"6000 datagrams at 3000/s: {len(took)} came; {counted}")
    assert counted["lost"] == 6000 - len(took)
    assert 480 <= counted["lost"] <= 720  # 600 +- 5 deviations
    assert counted["unread"] == counted["overflow"] == 0
    assert counted["forwarded"] == len(took)
    assert counted["bytes"] == len(took) * (DATAGRAM_BYTES + 28)


@pytest.mark.long
def test_delay_is_as_said_and_order_is_kept(link: LossyLink) -> None:
    link.set(far={"delay_s": 0.025})
    took = send(link, 500, per_second=500)
    assert list(took) == list(range(500))
    late = sorted(took.values())
    print(f"25 ms asked: median {statistics.median(late) * 1e3:.2f} ms, max {late[-1] * 1e3:.2f}")
    assert late[0] >= 0.025
    assert statistics.median(late) <= 0.030


@pytest.mark.long
def test_the_same_seed_loses_the_same_packets() -> None:
    runs = []
    for _ in range(2):
        link = LossyLink(seed=3)
        try:
            link.set(far={"loss": 0.2})
            runs.append(sorted(send(link, 300, per_second=1000)))
        finally:
            link.close()
    assert runs[0] == runs[1]
    assert 180 <= len(runs[0]) <= 290


@pytest.mark.long
def test_a_rate_makes_a_queue_and_a_full_queue_drops(link: LossyLink) -> None:
    link.set(far={"rate_bps": 1_000_000, "queue_bytes": 20_000})
    took = send(link, 500, per_second=250)  # twice the rate
    counted = link.counters()["far"]
    print(f"twice the rate for 2 s: {counted}, longest {max(took.values()) * 1e3:.0f} ms")
    assert counted["overflow"] + len(took) == 500
    assert 200 <= counted["overflow"] <= 260
    assert 0.12 <= max(took.values()) <= 0.25  # 20 kB at 1 Mbit/s are 160 ms


@pytest.mark.long
def test_jitter_delays_by_up_to_what_is_said_and_keeps_the_order(link: LossyLink) -> None:
    link.set(far={"delay_s": 0.02, "jitter_s": 0.1})
    took = send(link, 300, per_second=20 * 10)
    assert list(took) == list(range(300))
    late = sorted(took.values())
    print(f"20 ms and up to 100: {late[0] * 1e3:.0f}, {late[150] * 1e3:.0f}, {late[-1] * 1e3:.0f}")
    assert late[0] >= 0.02
    assert 0.09 <= late[-1] <= 0.14
    assert statistics.median(late) >= 0.06


@pytest.mark.long
def test_so_many_are_overtaken_by_so_much(link: LossyLink) -> None:
    link.set(far={"delay_s": 0.01, "reorder": 0.1, "reorder_s": 0.05})
    took = send(link, 1000, per_second=500)
    counted = link.counters()["far"]
    overtaken = [number for number, late_s in took.items() if late_s >= 0.06]
    came = list(took)
    print(f"{counted}, {len(overtaken)} came 50 ms later")
    assert len(took) == 1000 and came != sorted(came)
    assert 60 <= counted["reordered"] <= 140  # 100 +- 4 deviations
    assert len(overtaken) >= counted["reordered"]
    # Whoever was not chosen comes in the order of sending.
    kept = [number for number in came if took[number] < 0.055]
    assert kept == sorted(kept)


@pytest.mark.long
def test_nothing_passes_in_an_outage_and_all_of_it_afterwards(link: LossyLink) -> None:
    link.set(far={"outage_s": 0.5})
    took = send(link, 500, per_second=500, quiet_s=1.0)
    counted = link.counters()["far"]
    print(f"500 ms of nothing in 1 s: {len(took)} of 500 came, {counted['outage']} lost")
    assert counted["outage"] == 500 - len(took)
    assert 200 <= counted["outage"] <= 255
    assert list(took) == list(range(counted["outage"], 500))


@pytest.mark.long
def test_media_is_told_from_the_rest_and_dropped_by_count(link: LossyLink) -> None:
    link.set(far={"drop_media": 2})
    with link.near.inside():
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with link.far.inside():
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind((LossyLink.FAR, PORT))
    receiver.settimeout(5.0)
    for first in (0x00, 0x16, 0x80, 0x90, 0x80):  # STUN, DTLS, three of media
        sender.sendto(bytes([first, 1, 2, 3]), (LossyLink.FAR, PORT))
    assert [receiver.recv(100)[0] for _ in range(3)] == [0x00, 0x16, 0x80]
    assert link.counters()["far"]["media_dropped"] == 2
    sender.close()
    receiver.close()
