"""`--host ::` serves IPv4 and IPv6, pages and media alike."""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lectern.advertise import ADDRESSES_MAX, Advertised
from lectern.listen import listening_socket, media_addresses
from lectern.settings import Settings
from tests.lectern.running import Up, ask


@pytest.fixture
def up() -> Iterator[Up]:
    home = Path(tempfile.mkdtemp(prefix="lectern-up-", dir="/tmp"))
    up = Up(home / "data", "--host", "::")
    yield up
    up.stop()
    shutil.rmtree(home, ignore_errors=True)


def test_a_server_on_the_ipv6_wildcard_is_reached_over_both(up: Up) -> None:
    up.start()
    for host in ("127.0.0.1", "::1"):
        address = f"[{host}]" if ":" in host else host
        assert ask(f"http://{address}:{up.port}/readyz") == 200
        with socket.create_connection((host, up.media_port), timeout=5):
            pass


def test_one_address_of_ipv6_takes_no_ipv4() -> None:
    with listening_socket("::1", 0) as listener:
        port = listener.getsockname()[1]
        socket.create_connection(("::1", port), timeout=5).close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5)


def test_every_address_of_the_machine_is_offered_but_link_local_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Adapter:
        ips = [
            *(Ip(text) for text in ("127.0.0.1", "192.0.2.9", "169.254.1.1", "192.0.2.1")),
            *(Ip((text, 0, 3)) for text in ("::1", "fe80::1", "2001:db8::9")),
        ]

    monkeypatch.setattr("ifaddr.get_adapters", lambda: [Adapter()])
    everywhere = media_addresses(Settings(host="::"))
    assert everywhere == tuple(map(Advertised, ("192.0.2.1", "192.0.2.9", "2001:db8::9")))
    assert media_addresses(Settings(host="0.0.0.0")) == everywhere[:2]
    given = (Advertised("203.0.113.5", 1, 2),)
    assert media_addresses(Settings(host="::", advertise=given)) == given
    Adapter.ips = [Ip(f"192.0.2.{number}") for number in range(100)]
    assert len(media_addresses(Settings(host="::"))) == ADDRESSES_MAX


class Ip:
    def __init__(self, ip: str | tuple[str, int, int]) -> None:
        self.ip = ip
