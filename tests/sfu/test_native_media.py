"""The media thread's handle: its life, its queue, its counters and what it refuses."""

from __future__ import annotations

import errno
import gc
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sfu import _core
from sfu._core import Media, Sink, Track

VP8 = (96, "VP8", 90000, 97, "")
OPUS = (111, "OPUS", 48000, None, "minptime=10;useinbandfec=1")
UFRAG, PWD = "abcd", "x" * 22


@pytest.fixture
def media() -> Iterator[Media]:
    media = Media(host="127.0.0.1", port=0)
    yield media
    media.close()


def track(**changes: Any) -> Track:
    arguments: dict[str, Any] = {
        "slot": "video",
        "mid": "0",
        "codecs": [VP8],
        "ssrc": 1234,
        "rtx_ssrc": 1235,
        "mid_extension": 4,
        "transport_cc_extension": 3,
    }
    return Track(**(arguments | changes))


def sink(**changes: Any) -> Sink:
    arguments: dict[str, Any] = {
        "slot": "mic",
        "mid": "1",
        "codecs": [OPUS],
        "ssrc": 4_294_967_295,
        "rtx_ssrc": None,
        "cname": "lectern",
        "first_sequence": 32767,
        "mid_extension": 4,
        "transport_cc_extension": None,
    }
    return Sink(**(arguments | changes))


def eventually(holds: Callable[[], bool], *, within_s: float = 3.0) -> None:
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.01)


def descriptors() -> int:
    """Those open now; what earlier tests left to the collector is closed first and does not count."""
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def media_threads() -> int:
    names = []
    for task in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{task}/comm") as comm:
                names.append(comm.read().strip())
        except FileNotFoundError:
            continue  # it ended meanwhile
    return names.count("lectern-media")


def test_it_starts_on_a_free_port_and_stops() -> None:
    media = Media(host="127.0.0.1", port=0)
    assert 0 < media.port < 65536
    assert media_threads() == 1
    media.close()
    assert media_threads() == 0


def test_closing_twice_is_closing_once_and_the_rest_is_ignored() -> None:
    media = Media(host="127.0.0.1", port=0)
    media.close()
    media.close()
    media.remove_session(1)
    assert media.events() == []
    assert media.stats()["datagrams_in"] == 0


def test_a_dropped_object_closes_itself() -> None:
    media = Media(host="127.0.0.1", port=0)
    port = media.port
    del media
    gc.collect()
    Media(host="127.0.0.1", port=port).close()


def test_the_port_is_free_at_once_after_the_close(media: Media) -> None:
    media.close()
    again = Media(host="127.0.0.1", port=media.port)
    again.close()


def test_many_starts_and_stops_leak_neither_descriptors_nor_threads() -> None:
    Media(host="127.0.0.1", port=0).close()
    before = descriptors()
    for _ in range(100):
        media = Media(host="127.0.0.1", port=0)
        media.add_session(1, ice_ufrag=UFRAG, ice_pwd=PWD)
        media.close()
    del media
    assert descriptors() == before
    assert media_threads() == 0


def test_a_failed_start_leaks_nothing(media: Media) -> None:
    before = descriptors()
    for _ in range(20):
        with pytest.raises(OSError):
            Media(host="127.0.0.1", port=media.port)
    assert descriptors() == before
    assert media_threads() == 1


@pytest.mark.parametrize(
    ("host", "code"), [("127.0.0.1", errno.EADDRINUSE), ("192.0.2.1", errno.EADDRNOTAVAIL)]
)
def test_what_bind_refuses_is_an_oserror_with_its_number(
    media: Media, host: str, code: int
) -> None:
    with pytest.raises(OSError) as caught:
        Media(host=host, port=media.port)
    assert caught.value.errno == code
    assert str(media.port) in str(caught.value)


def test_tcp_has_a_port_of_its_own_where_it_is_asked_for(media: Media) -> None:
    assert media.tcp_port is None
    both = Media(host="127.0.0.1", port=0, tcp_port=0)
    assert both.tcp_port
    with socket.create_connection(("127.0.0.1", both.tcp_port), timeout=5) as stranger:
        eventually(lambda: both.stats()["tcp_connections"] == 1)
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            stranger.recv(1)
    eventually(lambda: both.stats()["tcp_closed_malformed"] == 1)
    with pytest.raises(OSError, match=f"TCP 127.0.0.1:{both.tcp_port}: ") as raised:
        Media(host="127.0.0.1", port=0, tcp_port=both.tcp_port)
    assert raised.value.errno == errno.EADDRINUSE
    both.close()


def test_no_event_waits_at_first(media: Media) -> None:
    assert media.events() == []
    assert select.select([media.fileno()], [], [], 0)[0] == []


def test_garbage_is_counted_and_never_answered(media: Media) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.settimeout(0.3)
        datagrams = [b"", b"\x00", b"hello", bytes(range(20, 80)), b"\x80" * 1200, b"\xff" * 65507]
        for datagram in datagrams:
            peer.sendto(datagram, ("127.0.0.1", media.port))
        with pytest.raises(TimeoutError):
            peer.recv(100)
    eventually(lambda: media.stats()["datagrams_in"] == len(datagrams))
    stats = media.stats()
    assert stats["bytes_in"] == sum(map(len, datagrams))
    assert stats["datagrams_out"] == 0
    assert media.events() == []


def test_a_busy_and_then_idle_node_uses_no_cpu(media: Media) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        for _ in range(100):
            peer.sendto(b"x", ("127.0.0.1", media.port))
    eventually(lambda: media.stats()["datagrams_in"] == 100)
    time.sleep(1.2)
    before = _media_thread_ns()
    time.sleep(1.0)
    assert _media_thread_ns() - before < 1_000_000


def _media_thread_ns() -> int:
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/comm") as comm:
            if comm.read().strip() == "lectern-media":
                with open(f"/proc/self/task/{task}/schedstat") as times:
                    return int(times.read().split()[0])
    raise AssertionError("no media thread")


def test_the_counters_are_there_from_the_first_moment(media: Media) -> None:
    eventually(lambda: "datagrams_in" in media.stats(), within_s=0.5)
    stats = media.stats()
    counted = {"datagrams_in", "bytes_in", "datagrams_out", "bytes_out", "sends", "runs_out"}
    amiss = {"gso_refused", "send_again", "send_errors", "receive_truncated", "receive_overflows"}
    thread = {"loop_lag_us_max", "wakeups", "cpu_us", "receive_buffer_bytes", "send_buffer_bytes"}
    assert counted | amiss | thread <= set(stats)
    assert all(isinstance(value, int) for value in stats.values())


def test_a_session_is_known_from_its_adding_to_its_removal(media: Media) -> None:
    assert media.session_stats(7) is None
    media.add_session(7, ice_ufrag=UFRAG, ice_pwd=PWD)
    assert media.session_stats(7) is not None
    media.remove_session(7)
    assert media.session_stats(7) is None


def test_every_command_is_taken(media: Media) -> None:
    media.add_session(1, ice_ufrag=UFRAG, ice_pwd=PWD)
    media.restart_ice(1, ice_ufrag="efgh", ice_pwd=PWD)
    media.set_keys(1, "AEAD_AES_128_GCM", local=bytes(28), remote=bytes(range(28)))
    media.publish(1, room=1, tracks=[track(), track(slot="mic", ssrc=5, rtx_ssrc=None)])
    media.add_session(2, ice_ufrag=UFRAG, ice_pwd=PWD)
    media.set_keys(2, "AES128_CM_SHA1_80", local=bytes(30), remote=bytes(range(30)))
    media.subscribe(2, room=1, sinks=[sink()])
    media.send_dtls(2, b"\x16" * 1200)
    media.touch(2)
    media.hand_over([(2, b"\x16" * 1200), (99, b"\x16")], [2, 99])
    media.remove_session(2)
    media.remove_session(99)


def test_both_families_come_to_the_wildcard_address() -> None:
    media = Media(host="::", port=0)
    try:
        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            with socket.socket(family, socket.SOCK_DGRAM) as peer:
                peer.sendto(b"hello", (host, media.port))
        eventually(lambda: media.stats()["datagrams_in"] == 2)
    finally:
        media.close()


def test_other_python_threads_run_while_it_closes() -> None:
    """Ten close at once: none of them may hold the interpreter while it waits for its thread."""
    medias = [Media(host="127.0.0.1", port=0) for _ in range(10)]
    threads = [threading.Thread(target=media.close) for media in medias]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=2)
    assert time.monotonic() - begun < 1
    assert media_threads() == 0


BAD_CALLS: list[tuple[str, Callable[[Media], object]]] = [
    ("profile", lambda m: m.set_keys(1, "NULL", local=b"", remote=b"")),  # type: ignore[arg-type]
    ("28", lambda m: m.set_keys(1, "AEAD_AES_128_GCM", local=bytes(30), remote=bytes(28))),
    ("remote", lambda m: m.set_keys(1, "AEAD_AES_128_GCM", local=bytes(28), remote=bytes(27))),
    ("44", lambda m: m.set_keys(1, "AEAD_AES_256_GCM", local=bytes(28), remote=bytes(28))),
    ("30", lambda m: m.set_keys(1, "AES128_CM_SHA1_80", local=bytes(28), remote=bytes(28))),
    ("ice_ufrag", lambda m: m.add_session(1, ice_ufrag="abc", ice_pwd=PWD)),
    ("ice_pwd", lambda m: m.add_session(1, ice_ufrag=UFRAG, ice_pwd="x" * 21)),
    ("ice_pwd", lambda m: m.restart_ice(1, ice_ufrag=UFRAG, ice_pwd="x" * 257)),
    ("32 bits", lambda m: m.remove_session(-1)),
    ("32 bits", lambda m: m.remove_session(2**32)),
    ("32 bits", lambda m: m.remove_session(2**80)),
    ("32 bits", lambda m: m.publish(1, room=-1, tracks=[])),
    ("datagram", lambda m: m.send_dtls(1, b"")),
    ("datagram", lambda m: m.send_dtls(1, bytes(65_508))),
    ("datagram", lambda m: m.hand_over([(1, b"\x16"), (1, b"")], [])),
    ("slot video", lambda m: m.publish(1, room=1, tracks=[track(), track(ssrc=1, rtx_ssrc=2)])),
    ("ssrc 1234", lambda m: m.publish(1, room=1, tracks=[track(), track(slot="mic", rtx_ssrc=9)])),
    ("ssrc 5", lambda m: m.subscribe(1, room=1, sinks=[sink(ssrc=5, rtx_ssrc=5)])),
    ("IP address", lambda m: Media(host="localhost", port=0)),
    ("16 bits", lambda m: Media(host="127.0.0.1", port=65_536)),
]


@pytest.mark.parametrize(("says", "call"), BAD_CALLS)
def test_a_bad_argument_is_a_valueerror_that_names_it(
    media: Media, says: str, call: Callable[[Media], object]
) -> None:
    with pytest.raises(ValueError, match=says):
        call(media)


@pytest.mark.parametrize("make", [track, sink])
@pytest.mark.parametrize(
    ("says", "changes"),
    [
        ("slot", {"slot": "camera"}),
        ("codecs", {"codecs": []}),
        ("payload type 128", {"codecs": [(128, "VP8", 90000, None, "")]}),
        ("payload type 200", {"codecs": [(96, "VP8", 90000, 200, "")]}),
        ("8 bits", {"codecs": [(300, "VP8", 90000, None, "")]}),
        ("clock rate", {"codecs": [(96, "VP8", 0, None, "")]}),
        ("mid_extension 0", {"mid_extension": 0}),
        ("transport_cc_extension 15", {"transport_cc_extension": 15}),
        ("abs_send_time_extension 16", {"abs_send_time_extension": 16}),
        ("dependency_descriptor_extension 255", {"dependency_descriptor_extension": 255}),
        ("mid", {"mid": "m" * 17}),
        ("32 bits", {"ssrc": 2**32}),
        ("32 bits", {"rtx_ssrc": -1}),
    ],
)
def test_a_section_is_checked_where_it_is_made(
    make: Callable[..., object], says: str, changes: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=says):
        make(**changes)


@pytest.mark.parametrize(
    ("says", "make"),
    [
        ("cname", lambda: sink(cname="")),
        ("cname", lambda: sink(cname="c" * 256)),
        ("first_sequence", lambda: sink(first_sequence=32768)),
        ("mid_extension", lambda: track(ssrc=None, mid_extension=None)),
    ],
)
def test_what_only_one_of_them_has_is_checked_too(says: str, make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=says):
        make()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("VP8", "Vp8"),
        ("vp9", "Vp9"),
        ("H264", "H264"),
        ("AV1", "Av1"),
        ("opus", "Opus"),
        ("red", "Red"),
        ("ulpfec", "Other"),
    ],
)
def test_codecs_are_known_by_name_and_others_are_kept(name: str, kind: str) -> None:
    made = track(codecs=[(100, name, 90000, None, "a=b")])
    assert f"kind: {kind}" in repr(made)
    assert 'fmtp: "a=b"' in repr(made)


def test_the_build_says_what_it_is() -> None:
    assert _core.BUILD_PROFILE in ("release", "debug")
    assert _core.VERSION.count(".") == 2
